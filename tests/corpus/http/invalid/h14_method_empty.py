"""H-14: a method of b''."""

status = 400
