"""H-8: a value with the byte 0x0c."""

status = 400
