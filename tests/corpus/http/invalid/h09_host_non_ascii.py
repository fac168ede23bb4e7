"""H-9: a Host of b'\xc3\xa4'."""

status = 400
