"""Only GET becomes a WebSocket."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "websocket")],
        "body": b"",
        "upgrade": None,
    }
]
