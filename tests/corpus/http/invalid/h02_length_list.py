"""H-2: a list of equal lengths."""

status = 400
