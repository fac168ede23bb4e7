"""The words of a connection's order: its states, and the reasons why nobody is served.

Shared by the read path, compiled or not, and by `longline.connection`.
"""

from __future__ import annotations

__all__ = [
    "CLOSED",
    "CLOSING",
    "ENDING",
    "HOLD_AHEAD",
    "HOLD_CHOKED",
    "HOLD_FILE",
    "HOLD_PIPE",
    "HOLD_SHUT",
    "HOLD_TASK",
    "HOLD_TURN",
    "HOLD_USER",
    "OPEN",
    "READ_AHEAD_BYTES",
    "TURN_MESSAGES",
]

OPEN, CLOSING, ENDING, CLOSED = range(4)
"""States of a connection. `OPEN` alone is false: `if self._state` asks whether it leaves."""

HOLD_TURN = 1
"""The share of this turn of the loop is used up; a scheduled call goes on."""

HOLD_TASK = 2
"""An asynchronous handler is at work; for reading: `max_pending` messages wait behind it."""

HOLD_USER = 4
"""`pause()`."""

HOLD_CHOKED = 8
"""The peer does not take its answers (request/response protocols only)."""

HOLD_PIPE = 16
"""The connection that this one is piped to is full."""

HOLD_AHEAD = 32
"""More than `READ_AHEAD_BYTES` came while nobody may be served; holds back reading only."""

HOLD_SHUT = 64
"""The connection is closing or gone; never cleared."""

HOLD_FILE = 128
"""The answer is a file that is not sent yet."""

TURN_MESSAGES = 64
"""Messages that one connection may take in one turn of the loop."""

READ_AHEAD_BYTES = 64 * 1024
"""Undecoded bytes from which on a connection that nobody serves is not read either.

No option, since nothing is gained by more: the kernel's own buffer, of the same order or
larger, keeps a peer busy meanwhile. The last read may exceed it by its own size (256 KiB)."""
