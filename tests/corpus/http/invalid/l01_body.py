"""L-1, B-1: an announced length above the limit."""

status = 413
limits = {"max_body_bytes": 10}
