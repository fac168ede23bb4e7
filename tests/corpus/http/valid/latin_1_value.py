"""H-8: 0x85 is a byte like any other, no line end."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("X", "café \x85\x80ÿ")],
        "body": b"",
    }
]
