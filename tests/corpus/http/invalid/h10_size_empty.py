"""H-10: a chunk size of b''."""

status = 400
