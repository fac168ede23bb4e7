"""Blanks around a value are none of it; a value may be empty."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("X", "b c"), ("Y", ""), ("Z", "")],
        "body": b"",
    }
]
