"""H-10: a chunk size of b'xyz'."""

status = 400
