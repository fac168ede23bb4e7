"""L-3: limits hold for the second request."""

status = 413
limits = {"max_body_bytes": 10}
requests = 1
