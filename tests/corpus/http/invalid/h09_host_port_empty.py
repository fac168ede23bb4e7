"""H-9: a Host of b'a:'."""

status = 400
