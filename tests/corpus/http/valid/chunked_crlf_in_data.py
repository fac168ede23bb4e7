"""Data that looks like framing."""

requests = [
    {
        "method": "POST",
        "target": "/",
        "version": "1.1",
        "headers": [("Host", "a"), ("Transfer-Encoding", "chunked")],
        "body": b"\r\n\r\n",
    }
]
