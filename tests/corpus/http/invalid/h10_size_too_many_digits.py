"""H-10: a chunk size of b'00000000000000003'."""

status = 400
