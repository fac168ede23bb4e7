"""L-1: a request line without end."""

status = 414
limits = {"max_request_line": 43}
