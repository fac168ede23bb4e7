"""H-6: bare CR behind chunk data."""

status = 400
