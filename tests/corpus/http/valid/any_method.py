"""H-14: a method is any token."""

requests = [
    {"method": "M-SEARCH", "target": "/", "version": "1.1", "headers": [("Host", "a")], "body": b""}
]
