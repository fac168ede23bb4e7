"""H-9: a Host of b'u:p@a'."""

status = 400
