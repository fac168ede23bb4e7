"""H-14: a method of 32 bytes."""

requests = [
    {
        "method": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
    }
]
