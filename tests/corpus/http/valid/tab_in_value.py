"""A tab is the one control in a value."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("X", "a\tb")],
        "body": b"",
    }
]
