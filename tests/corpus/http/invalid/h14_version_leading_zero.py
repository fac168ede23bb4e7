"""H-14: a version of b'HTTP/01.1'."""

status = 400
