"""H-16: an upgrade with a body."""

status = 400
