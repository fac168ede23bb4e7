"""L-1: the first excess decides, at every split."""

status = 414
limits = {"max_request_line": 43}
