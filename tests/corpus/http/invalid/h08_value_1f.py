"""H-8: a value with the byte 0x1f."""

status = 400
