"""H-10: less data than the chunk announced."""

status = 400
