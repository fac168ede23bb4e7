"""RFC 9112 section 3.2.2: the absolute form."""

requests = [
    {
        "method": "GET",
        "target": "HTTP://A:80/b?c",
        "version": "1.1",
        "headers": [("Host", "a:80")],
        "body": b"",
        "path": "/b",
        "query_string": "c",
        "host": "A:80",
    }
]
