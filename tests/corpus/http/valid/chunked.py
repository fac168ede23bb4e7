"""A chunked body."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"abcde",
    },
    {"method": "GET", "target": "/next", "version": "1.1", "headers": [("Host", "a")], "body": b""},
]
