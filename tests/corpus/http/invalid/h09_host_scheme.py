"""H-9: a Host of b'http://a'."""

status = 400
