"""H-7: a name with b'\xe9'."""

status = 400
