"""H-6: bare LF for the empty line."""

status = 400
