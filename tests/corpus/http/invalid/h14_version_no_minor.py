"""H-14: a version of b'HTTP/1'."""

status = 400
