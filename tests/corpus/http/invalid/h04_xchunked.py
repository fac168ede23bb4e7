"""H-4: a Transfer-Encoding of b'xchunked'."""

status = 400
