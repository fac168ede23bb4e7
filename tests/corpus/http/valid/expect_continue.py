"""H-23: the expectation that is known."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Expect", "100-Continue"), ("Content-Length", "3")],
        "body": b"abc",
    }
]
