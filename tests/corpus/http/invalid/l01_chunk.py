"""L-1, B-1: an announced chunk above the limit."""

status = 413
limits = {"max_body_bytes": 10}
