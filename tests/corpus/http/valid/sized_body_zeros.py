"""Nineteen digits are a number."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Content-Length", "0000000000000000005")],
        "body": b"hello",
    }
]
