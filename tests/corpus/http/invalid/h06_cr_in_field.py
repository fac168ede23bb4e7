"""H-6: bare CR in a value."""

status = 400
