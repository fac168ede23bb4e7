"""A Host of '[::1]'."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "[::1]")],
        "body": b"",
        "host": "[::1]",
    }
]
