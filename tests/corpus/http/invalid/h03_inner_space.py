"""H-3: a Content-Length of b' 3 4'."""

status = 400
