"""H-10: LF in a chunk extension."""

status = 400
