"""H-9: a Host of b'a:000080'."""

status = 400
