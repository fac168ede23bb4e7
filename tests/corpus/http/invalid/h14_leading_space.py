"""H-14: a space before the method."""

status = 400
