"""GET may have a body."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Content-Length", "5")],
        "body": b"hello",
    }
]
