"""L-1: a bare LF beyond the limit is not looked at."""

status = 431
limits = {"max_head_bytes": 61}
