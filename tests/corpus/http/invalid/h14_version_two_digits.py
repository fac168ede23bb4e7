"""H-14: a version of b'HTTP/1.10'."""

status = 400
