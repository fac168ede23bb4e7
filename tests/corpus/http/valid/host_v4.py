"""A Host of '127.0.0.1:8080'."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "127.0.0.1:8080")],
        "body": b"",
        "host": "127.0.0.1:8080",
    }
]
