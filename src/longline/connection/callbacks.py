"""The handlers of a Worker, and of one connection when it has its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["CALLBACKS", "Callbacks", "Handler"]

Handler: TypeAlias = Callable[..., Any]
"""A plain or asynchronous callable; the arguments are named in `Callbacks`."""

CALLBACKS = (
    "on_connect",
    "on_message",
    "on_close",
    "on_error",
    "on_buffer_full",
    "on_buffer_drain",
    "on_websocket_connect",
    "on_websocket_connected",
    "on_websocket_message",
    "on_websocket_close",
    "on_websocket_ping",
    "on_websocket_pong",
)
"""The names of all handlers."""


class Callbacks:
    """One slot for each handler; None where nobody listens.

    All connections of a Worker share one object. A connection that overrides a handler takes
    a copy first (`Connection.on_message = f` does it), so overriding costs only who does it.
    """

    __slots__ = CALLBACKS

    on_connect: Handler | None
    """`on_connect(conn)`: the peer is there; runs before its first message."""

    on_message: Handler | None
    """`on_message(conn, message)`: one decoded message."""

    on_close: Handler | None
    """`on_close(conn)`: the connection is gone; exactly once, whatever the cause."""

    on_error: Handler | None
    """`on_error(conn, error)`: a handler raised, or a send failed; `error` is an exception."""

    on_buffer_full: Handler | None
    """`on_buffer_full(conn)`: the peer takes less than it is sent; `on_buffer_drain` follows."""

    on_buffer_drain: Handler | None
    """`on_buffer_drain(conn)`: the peer has caught up."""

    on_websocket_connect: Handler | None
    """`on_websocket_connect(conn, request)`: before the 101; may refuse by a Response."""

    on_websocket_connected: Handler | None
    """`on_websocket_connected(conn, request)`: the 101 is queued."""

    on_websocket_message: Handler | None
    """`on_websocket_message(conn, message)`: str or bytes; without it, `on_message`."""

    on_websocket_close: Handler | None
    """`on_websocket_close(conn, code, reason)`: before `on_close`; 1006 without a close frame."""

    on_websocket_ping: Handler | None
    """`on_websocket_ping(conn, payload)`: the pong has been queued already."""

    on_websocket_pong: Handler | None
    """`on_websocket_pong(conn, payload)`: an answer to a ping, or an unasked one."""

    def __init__(self, **handlers: Handler | None) -> None:
        for name in CALLBACKS:
            setattr(self, name, handlers.pop(name, None))
        if handlers:
            raise TypeError(f"there is no handler named {next(iter(handlers))!r}")

    def copy(self) -> Callbacks:
        """Return an object of its own with the same handlers."""
        return Callbacks(**{name: getattr(self, name) for name in CALLBACKS})
