"""Spaces around a length are none of it."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Content-Length", "5")],
        "body": b"hello",
    }
]
