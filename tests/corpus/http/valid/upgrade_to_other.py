"""Another protocol is not offered."""

requests = [
    {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [
            ("Host", "a"),
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP"),
        ],
        "body": b"",
        "upgrade": None,
    },
    {"method": "GET", "target": "/next", "version": "1.1", "headers": [("Host", "a")], "body": b""},
]
