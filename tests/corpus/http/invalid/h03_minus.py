"""H-3: a Content-Length of b'-0'."""

status = 400
