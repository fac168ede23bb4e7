"""Bytes that URLs should encode and clients do not."""

requests = [
    {
        "method": "GET",
        "target": '/a"<>\\^`{|}~[]?b?c',
        "version": "1.1",
        "headers": [("Host", "a")],
        "body": b"",
        "path": '/a"<>\\^`{|}~[]',
        "query_string": "b?c",
    }
]
