"""H-7: a name with b'@'."""

status = 400
