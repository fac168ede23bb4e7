"""H-12: a space before the colon of a trailer."""

status = 400
