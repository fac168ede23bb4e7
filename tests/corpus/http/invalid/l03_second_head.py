"""L-3: limits hold for the second request."""

status = 431
limits = {"max_head_bytes": 61}
requests = 1
