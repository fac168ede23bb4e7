"""H-13: a target of b'*'."""

status = 400
