"""H-10: a chunk size of b'3 '."""

status = 400
