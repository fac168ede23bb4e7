"""H-13: a space in the target."""

status = 400
