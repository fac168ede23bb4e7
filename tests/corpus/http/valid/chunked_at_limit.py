"""A chunked body of exactly max_body_bytes."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"abcde",
    }
]
limits = {"max_body_bytes": 5}
