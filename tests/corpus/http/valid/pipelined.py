"""H-17: five at once, in order."""

requests = [
    {"method": "GET", "target": "/0", "version": "1.1", "headers": [("Host", "a")], "body": b""},
    {"method": "GET", "target": "/1", "version": "1.1", "headers": [("Host", "a")], "body": b""},
    {"method": "GET", "target": "/2", "version": "1.1", "headers": [("Host", "a")], "body": b""},
    {"method": "GET", "target": "/3", "version": "1.1", "headers": [("Host", "a")], "body": b""},
    {"method": "GET", "target": "/4", "version": "1.1", "headers": [("Host", "a")], "body": b""},
]
