"""H-9: a Host of b'a:http'."""

status = 400
