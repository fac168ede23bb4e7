"""H-9: a Host of b'a:65536'."""

status = 400
