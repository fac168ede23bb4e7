"""HTTP/1.0 keeps the connection when asked to."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.0",
        "headers": [("Connection", "Keep-Alive")],
        "body": b"",
        "keep_alive": True,
    },
    {
        "method": "GET",
        "target": "/b",
        "version": "1.0",
        "headers": [],
        "body": b"",
        "keep_alive": False,
    },
]
