"""A body of length 0 is none."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [
            ("Host", "a"),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Content-Length", "0"),
        ],
        "body": b"",
        "upgrade": "websocket",
    }
]
