"""H-4: a Transfer-Encoding of b'\x0bchunked'."""

status = 400
