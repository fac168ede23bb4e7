"""Every byte of a token."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("!#$%&'*+-.^_`|~09azAZ", "a")],
        "body": b"",
    }
]
