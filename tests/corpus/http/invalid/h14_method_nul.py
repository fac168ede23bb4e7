"""H-14: a method of b'G\x00T'."""

status = 400
