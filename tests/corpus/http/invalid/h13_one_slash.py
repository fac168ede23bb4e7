"""H-13: a target of b'http:/a'."""

status = 400
