"""close wins over keep-alive."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Connection", "keep-alive"), ("Connection", "close")],
        "body": b"",
        "keep_alive": False,
    }
]
