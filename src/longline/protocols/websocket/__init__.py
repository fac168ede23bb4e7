"""WebSocket (RFC 6455), both roles, sans-I/O.

frame       opcodes, close codes, the control events, the payload of a close frame
handshake   the server's side of the upgrade: what to check and what to answer
connection  `WebSocket`: the codec after the handshake
"""

from __future__ import annotations

from .connection import State, WebSocket
from .frame import CloseCode, Closed, Ping, Pong

__all__ = ["CloseCode", "Closed", "Ping", "Pong", "State", "WebSocket"]
