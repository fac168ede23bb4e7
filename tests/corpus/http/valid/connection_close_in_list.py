"""close in a list, in upper case."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Connection", "foo, CLOSE ,bar")],
        "body": b"",
        "keep_alive": False,
    }
]
