"""A head of exactly max_head_bytes."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("X", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa")],
        "body": b"",
    }
]
limits = {"max_head_bytes": 61}
