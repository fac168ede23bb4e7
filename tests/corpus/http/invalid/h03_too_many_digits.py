"""H-3: a Content-Length of b'00000000000000000003'."""

status = 400
