"""H-3: a Content-Length of b'\xd9\xa3'."""

status = 400
