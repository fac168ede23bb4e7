"""H-3: a Content-Length of b'\t3'."""

status = 400
