"""H-14: HTTP/0.9 has no version."""

status = 400
