"""L-3: limits hold for the second request."""

status = 431
limits = {"max_headers": 3}
requests = 1
