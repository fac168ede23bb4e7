"""H-13: a target of b'http://u@a/'."""

status = 400
