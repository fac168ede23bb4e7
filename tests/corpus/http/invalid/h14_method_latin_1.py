"""H-14: a method of b'G\xc9T'."""

status = 400
