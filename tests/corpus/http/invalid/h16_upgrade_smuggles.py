"""H-16: a request in the body of an upgrade."""

status = 400
