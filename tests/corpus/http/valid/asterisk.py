"""H-13: * is for OPTIONS."""

requests = [
    {
        "method": "OPTIONS",
        "target": "*",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
        "path": "*",
    }
]
