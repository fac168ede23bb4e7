"""H-14: a version of b'http/1.1'."""

status = 400
