"""H-9: a Host of b'[::1'."""

status = 400
