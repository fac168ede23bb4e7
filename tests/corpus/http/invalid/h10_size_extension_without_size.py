"""H-10: a chunk size of b';a=b'."""

status = 400
