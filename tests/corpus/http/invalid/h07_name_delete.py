"""H-7: a name with b'\x7f'."""

status = 400
