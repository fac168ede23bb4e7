"""A body of exactly max_body_bytes."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Content-Length", "5")],
        "body": b"hello",
    }
]
limits = {"max_body_bytes": 5}
