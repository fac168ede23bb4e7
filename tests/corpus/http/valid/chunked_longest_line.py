"""H-10: a chunk line of exactly 256 bytes."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"abc",
    }
]
