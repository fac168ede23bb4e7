"""H-6: bare LF behind the last chunk."""

status = 400
