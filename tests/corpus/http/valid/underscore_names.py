"""H-24: an underscore is no dash."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Content_Length", "3"), ("Transfer_Encoding", "chunked")],
        "body": b"",
    },
    {"method": "GET", "target": "/next", "version": "1.1", "headers": [("Host", "a")], "body": b""},
]
