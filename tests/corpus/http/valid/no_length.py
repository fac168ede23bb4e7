"""No length is length 0."""

requests = [
    {"method": "POST", "target": "/", "version": "1.1", "headers": [("Host", "a")], "body": b""},
    {"method": "GET", "target": "/next", "version": "1.1", "headers": [("Host", "a")], "body": b""},
]
