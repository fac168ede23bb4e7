"""L-1: a long head."""

status = 431
limits = {"max_head_bytes": 61}
