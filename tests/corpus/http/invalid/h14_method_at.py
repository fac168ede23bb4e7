"""H-14: a method of b'G@T'."""

status = 400
