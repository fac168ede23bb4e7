"""H-9: two Hosts in HTTP/1.0."""

status = 400
