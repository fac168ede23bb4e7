"""H-3: a Content-Length of b'0x3'."""

status = 400
