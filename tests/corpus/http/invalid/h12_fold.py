"""H-12: a folded trailer."""

status = 400
