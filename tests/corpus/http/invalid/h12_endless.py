"""H-12: a trailer without end."""

status = 400
