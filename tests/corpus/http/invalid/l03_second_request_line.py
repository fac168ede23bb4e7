"""L-3: limits hold for the second request."""

status = 414
limits = {"max_request_line": 43}
requests = 1
