"""H-16: the Upgrade field alone, with a body."""

status = 400
