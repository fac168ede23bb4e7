"""H-2: an empty length."""

status = 400
