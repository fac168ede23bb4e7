"""H-8: a value with the byte 0x01."""

status = 400
