"""H-4: a Transfer-Encoding of b'chunked;'."""

status = 400
