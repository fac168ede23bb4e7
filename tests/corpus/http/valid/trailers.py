"""H-12: trailers stay apart from headers."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"abc",
        "trailers": [("X-Sum", "1"), ("x-other", "2")],
    },
    {"method": "GET", "target": "/next", "version": "1.1", "headers": [("Host", "a")], "body": b""},
]
