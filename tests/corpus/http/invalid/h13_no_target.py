"""H-13: no target."""

status = 400
