"""UTF-8 in the target, not encoded."""

requests = [
    {
        "method": "GET",
        "target": "/Ã¤?Ã¶",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
        "path": "/ä",
    }
]
