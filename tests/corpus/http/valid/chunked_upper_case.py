"""Names and sizes in any case."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "CHUNKED")],
        "body": b"01234567890123456789",
    }
]
