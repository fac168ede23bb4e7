"""H-10: a chunk size of b'3;a=\x01'."""

status = 400
