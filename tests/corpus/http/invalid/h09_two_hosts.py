"""H-9: two Hosts."""

status = 400
