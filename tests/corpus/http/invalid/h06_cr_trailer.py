"""H-6: bare CR in a trailer."""

status = 400
