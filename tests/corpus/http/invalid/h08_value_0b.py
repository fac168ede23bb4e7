"""H-8: a value with the byte 0x0b."""

status = 400
