"""H-10: a chunk size of b'\xd9\xa3'."""

status = 400
