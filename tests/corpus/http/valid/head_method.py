"""HEAD, and the next request in step."""

requests = [
    {"method": "HEAD", "target": "/", "version": "1.1", "headers": [("Host", "a")], "body": b""},
    {"method": "GET", "target": "/next", "version": "1.1", "headers": [("Host", "a")], "body": b""},
]
