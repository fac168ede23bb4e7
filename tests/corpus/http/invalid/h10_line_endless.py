"""H-10: a chunk line without end."""

status = 400
