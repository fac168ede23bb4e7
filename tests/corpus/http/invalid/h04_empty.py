"""H-4: a Transfer-Encoding of b''."""

status = 400
