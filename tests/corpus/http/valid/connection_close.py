"""What follows the last request is not parsed."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Connection", "close")],
        "body": b"",
        "keep_alive": False,
    }
]
