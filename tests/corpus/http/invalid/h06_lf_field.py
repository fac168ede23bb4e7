"""H-6: bare LF behind a field."""

status = 400
