"""H-14: a version of b'HTTP/0.9'."""

status = 505
