"""H-7: an empty name."""

status = 400
