"""The smallest request."""

requests = [
    {"method": "GET", "target": "/", "version": "1.1", "headers": [("Host", "a")], "body": b""}
]
