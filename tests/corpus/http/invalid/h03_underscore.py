"""H-3: a Content-Length of b'3_0'."""

status = 400
