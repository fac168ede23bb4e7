"""L-1, H-23: refused before it is invited."""

status = 413
limits = {"max_body_bytes": 10}
