"""H-16: an upgrade with a chunked body."""

status = 400
