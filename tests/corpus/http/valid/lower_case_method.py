"""Methods are case-sensitive, so this is another one."""

requests = [
    {"method": "get", "target": "/", "version": "1.1", "headers": [("Host", "a")], "body": b""}
]
