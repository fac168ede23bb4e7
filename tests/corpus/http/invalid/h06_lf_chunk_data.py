"""H-6: bare LF behind chunk data."""

status = 400
