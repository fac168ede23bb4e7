"""L-1: a long request line."""

status = 414
limits = {"max_request_line": 43}
