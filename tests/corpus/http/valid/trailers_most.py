"""H-12: exactly 20 trailers."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"",
        "trailers": [
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
            ("X", "a"),
        ],
    }
]
