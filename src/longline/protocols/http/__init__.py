"""HTTP/1.1 for servers, without a socket in sight (RFC 9110, RFC 9112).

    server.py    HttpServer: the codec of one connection, its phases and its answers
    head.py      where a request head ends; Headers, a case-insensitive mapping
    body.py      a reader for each way in which a body ends
    request.py   Request: what a handler gets
    response.py  Response: what a handler makes
    cookie.py    cookies, read and written
    mime.py      media types by file extension

What is fast or decides on framing is in `longline._core` (`parse_head`, `ChunkedReader`,
`encode_head`).
"""

from __future__ import annotations

from .head import Headers
from .request import Request
from .response import Response, ResponseHeaders
from .server import CONTINUE, HttpServer, Phase

__all__ = [
    "CONTINUE",
    "Headers",
    "HttpServer",
    "Phase",
    "Request",
    "Response",
    "ResponseHeaders",
]
