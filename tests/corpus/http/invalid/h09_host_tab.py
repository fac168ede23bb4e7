"""H-9: a Host of b'a\tb'."""

status = 400
