"""HTTP/1.0 knows no upgrade."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.0",
        "headers": [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "websocket")],
        "body": b"",
        "upgrade": None,
    }
]
