"""H-9: two equal Hosts."""

status = 400
