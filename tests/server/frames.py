"""WebSocket frames of a client, made by hand: right ones and wrong ones."""

from __future__ import annotations

import struct

from .live import Peer, request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


def header(opcode: int, length: int, *, last: bool = True, masked: bool = True) -> bytes:
    """Return the head of a frame that announces `length` bytes."""
    first = opcode | (0x80 if last else 0)
    bit = 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, bit | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    return head + (MASK if masked else b"")


def frame(opcode: int, payload: bytes = b"", *, last: bool = True, masked: bool = True) -> bytes:
    """Return a whole frame."""
    if masked:
        key = (MASK * (len(payload) // 4 + 1))[: len(payload)]
        number = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
        body = number.to_bytes(len(payload), "big")
    else:
        body = payload
    return header(opcode, len(payload), last=last, masked=masked) + body


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def open_websocket(peer: Peer, *fields: str) -> Peer:
    """Shake hands, and return the peer."""
    peer.send(request("/", "GET", *UPGRADE, *fields))
    answer = peer.answer()
    assert answer.status == 101, answer
    assert answer.headers["sec-websocket-accept"] == ACCEPT
    return peer


def read_frame(peer: Peer) -> tuple[int, bytes]:
    """Read one frame of the server, which is never masked nor fragmented."""
    first, second = peer.read(2)
    assert first & 0xF0 == 0x80
    assert not second & 0x80
    length = second
    if length == 126:
        (length,) = struct.unpack("!H", peer.read(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", peer.read(8))
    return first & 0x0F, peer.read(length)


def read_close(peer: Peer) -> int:
    """Read up to the close frame, echo it, see the end of the stream; return the code."""
    while True:
        opcode, payload = read_frame(peer)
        if opcode == CLOSE:
            peer.send(frame(CLOSE, payload))
            assert peer.gone()
            assert not peer.rest
            return struct.unpack("!H", payload[:2])[0] if payload else 1005
