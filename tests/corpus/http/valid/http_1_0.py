"""HTTP/1.0 needs no Host, and closes."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.0",
        "headers": [],
        "body": b"",
        "keep_alive": False,
    }
]
