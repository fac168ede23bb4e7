"""H-13: a target of b'?a'."""

status = 400
