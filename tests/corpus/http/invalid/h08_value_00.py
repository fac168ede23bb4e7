"""H-8: a value with the byte 0x00."""

status = 400
