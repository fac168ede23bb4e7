"""H-9: no Host in HTTP/1.1."""

status = 400
