"""H-12: NUL in a trailer."""

status = 400
