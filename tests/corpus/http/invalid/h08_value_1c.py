"""H-8: a value with the byte 0x1c."""

status = 400
