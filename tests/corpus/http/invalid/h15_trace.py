"""H-15: TRACE."""

status = 405
