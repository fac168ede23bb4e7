"""H-14: a version of b'HTTP/2.0'."""

status = 505
