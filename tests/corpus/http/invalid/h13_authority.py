"""H-13: a target of b'a:80'."""

status = 400
