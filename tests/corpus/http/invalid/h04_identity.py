"""H-4: a Transfer-Encoding of b'identity'."""

status = 400
