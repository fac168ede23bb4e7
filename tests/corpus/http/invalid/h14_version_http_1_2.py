"""H-14: a version of b'HTTP/1.2'."""

status = 505
