"""Tokens in lists, in any case."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [
            ("Host", "a"),
            ("connection", "keep-alive, UPGRADE"),
            ("upgrade", "h2c, WebSocket"),
        ],
        "body": b"",
        "upgrade": "websocket",
    }
]
