"""What a browser sends."""

requests = [
    {
        "method": "GET",
        "target": "/a/b.html?c=d&e=%20",
        "version": "1.1",
        "headers": [
            ("Host", "example.com:8080"),
            ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
            ("Accept", "text/html, */*;q=0.1"),
            ("Accept-Language", "de,en;q=0.5"),
            ("Connection", "keep-alive"),
            ("Cookie", "a=b; c=d"),
        ],
        "body": b"",
        "path": "/a/b.html",
        "query_string": "c=d&e=%20",
    }
]
