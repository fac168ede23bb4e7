"""H-4: a Transfer-Encoding of b'\tchunked'."""

status = 400
