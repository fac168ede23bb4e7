"""H-3: a Content-Length of b'\xb3'."""

status = 400
