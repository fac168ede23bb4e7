"""H-6: bare CR behind a chunk size."""

status = 400
