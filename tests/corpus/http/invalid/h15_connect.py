"""H-15: CONNECT."""

status = 405
