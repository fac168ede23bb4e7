"""H-9: a Host of b'a:1:2'."""

status = 400
