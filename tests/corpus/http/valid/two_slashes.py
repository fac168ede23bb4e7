"""H-13: a path that begins with two slashes."""

requests = [
    {
        "method": "GET",
        "target": "//evil.example/x",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
        "path": "//evil.example/x",
    }
]
