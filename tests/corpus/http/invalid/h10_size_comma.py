"""H-10: a chunk size of b'3,3'."""

status = 400
