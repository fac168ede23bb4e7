"""A Host of '[2001:db8::1]:443'."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "[2001:db8::1]:443")],
        "body": b"",
        "host": "[2001:db8::1]:443",
    }
]
