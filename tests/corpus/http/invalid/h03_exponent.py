"""H-3: a Content-Length of b'3e0'."""

status = 400
