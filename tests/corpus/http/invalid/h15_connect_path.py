"""H-15: CONNECT with a path."""

status = 405
