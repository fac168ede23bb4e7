"""H-7: a line without a colon."""

status = 400
