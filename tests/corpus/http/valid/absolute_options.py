"""RFC 9112 section 3.2.4: the absolute form of *."""

requests = [
    {
        "method": "OPTIONS",
        "target": "http://a",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
        "path": "*",
        "host": "a",
    }
]
