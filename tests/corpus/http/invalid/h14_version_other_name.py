"""H-14: a version of b'ICY/1.1'."""

status = 400
