"""H-6: bare LF behind a chunk size."""

status = 400
