"""H-9: a Host of b'a"b'."""

status = 400
