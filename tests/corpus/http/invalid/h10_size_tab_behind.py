"""H-10: a chunk size of b'3\t'."""

status = 400
