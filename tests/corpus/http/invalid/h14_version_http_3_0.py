"""H-14: a version of b'HTTP/3.0'."""

status = 505
