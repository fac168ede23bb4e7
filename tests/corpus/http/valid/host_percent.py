"""A Host of 'a%20b'."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a%20b")],
        "body": b"",
        "host": "a%20b",
    }
]
