"""H-4: a Transfer-Encoding of b'chunked;q=1'."""

status = 400
