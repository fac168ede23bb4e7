"""H-7: a name with b'\x00'."""

status = 400
