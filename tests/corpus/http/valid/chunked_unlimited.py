"""None is unlimited."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"abc",
    }
]
limits = {"max_body_bytes": None}
