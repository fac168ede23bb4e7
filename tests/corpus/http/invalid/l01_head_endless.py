"""L-1: a head without end."""

status = 431
limits = {"max_head_bytes": 61}
