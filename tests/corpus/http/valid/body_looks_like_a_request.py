"""A body is not parsed."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Content-Length", "31")],
        "body": b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    }
]
