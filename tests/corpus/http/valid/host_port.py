"""A Host of 'a:65535'."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a:65535")],
        "body": b"",
        "host": "a:65535",
    }
]
