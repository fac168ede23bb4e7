"""H-10: more data than the chunk announced."""

status = 400
