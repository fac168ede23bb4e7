"""H-4: a Transfer-Encoding of b'chunked, chunked'."""

status = 400
