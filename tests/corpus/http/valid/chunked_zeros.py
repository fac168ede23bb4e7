"""Sixteen digits, and a last chunk of several zeros."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"abc",
    }
]
