"""An absolute target without a path."""

requests = [
    {
        "method": "GET",
        "target": "http://a?b",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
        "path": "/",
        "query_string": "b",
        "host": "a",
    }
]
