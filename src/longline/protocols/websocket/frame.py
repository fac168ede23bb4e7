"""The words of WebSocket: opcodes, close codes, and the events of control frames.

Framing itself is in `_core`; messages are plain `str` and `bytes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ...errors import RemoteProtocolError

__all__ = [
    "MAX_CONTROL_BYTES",
    "CloseCode",
    "Closed",
    "Opcode",
    "Ping",
    "Pong",
    "is_wire_code",
    "pack_close",
    "unpack_close",
]

MAX_CONTROL_BYTES = 125
"""Greatest payload of a ping, pong or close frame (RFC 6455 section 5.5)."""


class Opcode(IntEnum):
    """What a frame is (RFC 6455 section 5.2); from 8 on it is a control frame."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a conversation ended (RFC 6455 section 7.4.1 and its IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    """Never sent: the close frame named no code."""
    ABNORMAL = 1006
    """Never sent: the stream ended without a close frame."""
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_FAILURE = 1015
    """Never sent: the TLS handshake failed."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The peer sent a ping; the codec answers it."""

    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Pong:
    """The peer sent a pong, asked for or not."""

    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of a conversation.

    Attributes:
        code: The peer's close code; 1005 when it gave none, 1006 when it just left.
        reason: The peer's text, at most 123 bytes of UTF-8.
    """

    code: int
    reason: str = ""


_NEVER_SENT = frozenset({1004, CloseCode.NO_STATUS, CloseCode.ABNORMAL})


def is_wire_code(code: int) -> bool:
    """Return whether a close frame may carry `code` (RFC 6455 section 7.4).

    Those are the registered ones that do not stand for the lack of a code, and 3000 to 4999
    for libraries and applications.
    """
    return (1000 <= code <= 1014 and code not in _NEVER_SENT) or 3000 <= code <= 4999


def pack_close(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame.

    Raises:
        ValueError: The code must not be sent, or the reason has more than 123 bytes of UTF-8
            or lone surrogates.
    """
    if not is_wire_code(code):
        raise ValueError(f"a close frame cannot carry the code {code}")
    payload = code.to_bytes(2, "big") + reason.encode()
    if len(payload) > MAX_CONTROL_BYTES:
        raise ValueError("a close reason has at most 123 bytes of UTF-8")
    return payload


def unpack_close(payload: bytes) -> Closed:
    """Return what the payload of a peer's close frame says (RFC 6455 section 5.5.1).

    Raises:
        RemoteProtocolError: Half a code or one that must not be sent (close code 1002), or a
            reason that is not UTF-8 (1007).
    """
    if not payload:
        return Closed(CloseCode.NO_STATUS)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not is_wire_code(code):
        raise RemoteProtocolError("a close frame has no valid code")
    try:
        return Closed(code, str(payload[2:], "utf-8"))
    except UnicodeDecodeError:
        raise RemoteProtocolError(
            "a close reason is not UTF-8", close_code=CloseCode.INVALID_DATA
        ) from None
