"""H-4: a Transfer-Encoding of b'chunked\t'."""

status = 400
