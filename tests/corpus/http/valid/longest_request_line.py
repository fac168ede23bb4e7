"""A request line of exactly max_request_line."""

requests = [
    {
        "method": "GET",
        "target": "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
    }
]
limits = {"max_request_line": 43}
