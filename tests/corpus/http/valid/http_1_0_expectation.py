"""An expectation in HTTP/1.0 is ignored."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.0",
        "headers": [("Expect", "x"), ("Content-Length", "3")],
        "body": b"abc",
    }
]
