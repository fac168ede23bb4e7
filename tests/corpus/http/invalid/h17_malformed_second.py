"""H-17: the request before a malformed one is served."""

status = 400
requests = 1
