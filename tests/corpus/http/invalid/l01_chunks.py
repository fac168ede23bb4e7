"""L-1, B-1: chunks above the limit together."""

status = 413
limits = {"max_body_bytes": 10}
