"""H-10: a chunk line of more than 256 bytes."""

status = 400
