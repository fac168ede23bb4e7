"""A WebSocket handshake."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Connection", "Upgrade"), ("Upgrade", "websocket")],
        "body": b"",
        "upgrade": "websocket",
    }
]
