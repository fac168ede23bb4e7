"""H-2: two equal lengths."""

status = 400
