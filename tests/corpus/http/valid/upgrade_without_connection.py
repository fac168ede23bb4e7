"""Without Connection it is no upgrade."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Upgrade", "websocket")],
        "body": b"",
        "upgrade": None,
    }
]
