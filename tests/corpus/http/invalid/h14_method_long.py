"""H-14: a method of 33 bytes."""

status = 400
