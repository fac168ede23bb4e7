"""H-7: a folded line."""

status = 400
