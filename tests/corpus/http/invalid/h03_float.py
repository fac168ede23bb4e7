"""H-3: a Content-Length of b'3.0'."""

status = 400
