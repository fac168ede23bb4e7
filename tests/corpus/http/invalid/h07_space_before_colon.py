"""H-7: a space before the colon."""

status = 400
