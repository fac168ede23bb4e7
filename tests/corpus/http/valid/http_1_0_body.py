"""A body in HTTP/1.0."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.0",
        "headers": [("Content-Length", "3")],
        "body": b"abc",
        "keep_alive": False,
    }
]
