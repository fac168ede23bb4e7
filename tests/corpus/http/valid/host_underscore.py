"""A Host of 'my_host'."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "my_host")],
        "body": b"",
        "host": "my_host",
    }
]
