"""H-10: a chunk size of b'0x3'."""

status = 400
