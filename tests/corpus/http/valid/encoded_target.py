"""A path is decoded once."""

requests = [
    {
        "method": "GET",
        "target": "/%C3%A4%2Fb%00%zz%25?a",
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
        "path": "/ä/b\x00%zz%",
        "raw_path": "/%C3%A4%2Fb%00%zz%25",
    }
]
