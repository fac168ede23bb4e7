"""H-8: a value with the byte 0x08."""

status = 400
