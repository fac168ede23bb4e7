"""H-9: a Host of b''."""

status = 400
