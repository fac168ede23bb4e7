"""Sans-I/O protocols: bytes in, events out; messages in, bytes out.

    codec       the contract of a protocol, and the registry of schemes
    tcp         no framing: what arrives together is one message
    text        one line of UTF-8 is one message
    frame       a 4-byte length and a payload
    jsonl       one line of JSON is one message
    http        HTTP/1.1, server side
    websocket   RFC 6455, both roles, and the server's side of its handshake

Read `text` first, then `codec`. Importing this package registers the schemes that are built
in. A `websocket` connection begins as HTTP, so both schemes start with the same codec; the
connection goes over to `websocket.WebSocket` when the handshake is done.
"""

from __future__ import annotations

from .codec import Codec, UserProtocol, codec_factory, register_protocol
from .frame import Frame
from .http.server import HttpServer
from .jsonl import JsonLines
from .tcp import Tcp
from .text import Text

__all__ = ["Codec", "UserProtocol", "codec_factory", "register_protocol"]

register_protocol("tcp", Tcp)
register_protocol("text", Text)
register_protocol("frame", Frame)
register_protocol("jsonl", JsonLines)
register_protocol("http", HttpServer)
register_protocol("websocket", HttpServer)
