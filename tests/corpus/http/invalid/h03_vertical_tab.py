"""H-3: a Content-Length of b'3\x0b'."""

status = 400
