"""H-2: two lengths."""

status = 400
