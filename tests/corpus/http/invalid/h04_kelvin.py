"""H-4: a Transfer-Encoding of b'chun\xe2\x84\xaaed'."""

status = 400
