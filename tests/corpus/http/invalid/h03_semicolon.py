"""H-3: a Content-Length of b'3;'."""

status = 400
