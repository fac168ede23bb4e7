"""H-7: a name with b'\xe2\x84\xaa'."""

status = 400
