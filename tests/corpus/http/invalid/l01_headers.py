"""L-1: too many fields."""

status = 431
limits = {"max_headers": 3}
