"""H-8: a value with the byte 0x7f."""

status = 400
