"""Exactly max_headers."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("X", "a"), ("X", "a")],
        "body": b"",
    }
]
limits = {"max_headers": 3}
