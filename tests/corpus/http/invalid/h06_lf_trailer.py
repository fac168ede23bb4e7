"""H-6: bare LF behind a trailer."""

status = 400
