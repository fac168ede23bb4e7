"""H-9: a Host of b'u@a'."""

status = 400
