"""H-10: a chunk size of b'0_3'."""

status = 400
