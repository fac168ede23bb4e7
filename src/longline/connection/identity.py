"""Who a connection is: its number, its addresses, its counters, its handlers, its data."""

from __future__ import annotations

import socket
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from .._core._states import CLOSED, CLOSING, ENDING, OPEN
from .flow import Flow

if TYPE_CHECKING:
    from ..protocols.codec import Codec
    from .callbacks import Handler

__all__ = ["ConnectionStats", "Identity"]

STATES = {OPEN: "open", CLOSING: "closing", ENDING: "closing", CLOSED: "closed"}

_ids = count(1)


class ConnectionStats(NamedTuple):
    """What one connection has done so far."""

    bytes_read: int
    bytes_written: int
    """Bytes handed to the transport; `Connection.send_queue` of them may still wait."""
    messages_in: int
    messages_out: int
    send_failures: int
    opened_at: float
    """The loop's monotonic clock when the connection was made."""


class HandlerSlot:
    """One handler of a connection: the Worker's, until the connection is given its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.__doc__ = f"This connection's `{name}`; the Worker's until it is set."

    @overload
    def __get__(self, conn: None, kind: type) -> HandlerSlot: ...
    @overload
    def __get__(self, conn: Identity, kind: type) -> Handler | None: ...
    def __get__(self, conn: Identity | None, kind: type) -> HandlerSlot | Handler | None:
        if conn is None:
            return self
        handler: Handler | None = getattr(conn._callbacks, self._name)
        return handler

    def __set__(self, conn: Identity, handler: Handler | None) -> None:
        if conn._callbacks is conn._host.callbacks:
            conn._callbacks = conn._callbacks.copy()
        setattr(conn._callbacks, self._name, handler)


class Heritage(NamedTuple):
    """What a connection is to the application, for the one that goes on in its place."""

    id: int
    data: SimpleNamespace | None
    callbacks: Any
    peer: Any
    opened_at: float


class Identity(Flow):
    """Adds what tells one connection from another."""

    __slots__ = ("_data", "_peer", "close_reason", "id", "opened_at")

    opened_at: float
    on_connect: HandlerSlot = HandlerSlot("on_connect")
    on_message: HandlerSlot = HandlerSlot("on_message")
    on_close: HandlerSlot = HandlerSlot("on_close")
    on_error: HandlerSlot = HandlerSlot("on_error")
    on_buffer_full: HandlerSlot = HandlerSlot("on_buffer_full")
    on_buffer_drain: HandlerSlot = HandlerSlot("on_buffer_drain")
    on_websocket_connect: HandlerSlot = HandlerSlot("on_websocket_connect")
    on_websocket_connected: HandlerSlot = HandlerSlot("on_websocket_connected")
    on_websocket_message: HandlerSlot = HandlerSlot("on_websocket_message")
    on_websocket_close: HandlerSlot = HandlerSlot("on_websocket_close")
    on_websocket_ping: HandlerSlot = HandlerSlot("on_websocket_ping")
    on_websocket_pong: HandlerSlot = HandlerSlot("on_websocket_pong")

    def __init__(self, host: Any, codec: Any) -> None:
        super().__init__(host, codec)
        self._data: SimpleNamespace | None = None
        self._peer: Any = None
        self.close_reason: str = ""
        """Why it was closed, one word; empty while it is open."""
        self.id: int = next(_ids)
        """A number of its own in this process; unique together with the process id."""
        self.opened_at = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state} {self.remote}>"

    @property
    def identity(self) -> str:
        """How log lines call this connection."""
        owner = f"{self._host.name} " if self._host.name else ""
        return f"{owner}connection {self.id} from {self.remote or 'a local peer'}"

    @property
    def worker(self) -> Any:
        """The Worker whose connection this is; None with clients."""
        return self._host.worker

    @property
    def codec(self) -> Codec:
        """The protocol's side of the conversation."""
        codec: Codec = self._codec
        return codec

    @property
    def state(self) -> str:
        """One of "open", "closing", "closed"."""
        return STATES[self._state]

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._state == CLOSED)

    @property
    def data(self) -> SimpleNamespace:
        """A namespace for the application's own attributes."""
        if self._data is None:
            self._data = SimpleNamespace()
        return self._data

    @property
    def stats(self) -> ConnectionStats:
        """A snapshot of the counters."""
        return ConnectionStats(
            self.bytes_read,
            self.bytes_written,
            self.messages_in,
            self.messages_out,
            self.send_failures,
            self.opened_at,
        )

    def join(self, room: str) -> None:
        """Enter a room of the Worker: `worker.to(room).send(...)` reaches it from now on.

        Harmless when it is there or closed; a connection that closes leaves every room.
        """
        self._host.join(self, room)

    def leave(self, room: str) -> None:
        """Leave a room; harmless when it is not in it."""
        self._host.leave(self, room)

    @property
    def transport_name(self) -> str:
        """ "tcp" or "unix"."""
        endpoint = self._transport and self._transport.get_extra_info("socket")
        family = getattr(endpoint, "family", None)
        return "unix" if family == getattr(socket, "AF_UNIX", 0) else "tcp"

    @property
    def remote(self) -> str:
        """The peer as "ip:port" or "[v6]:port"; its path, often empty, on a Unix socket."""
        return _shown(self._peer)

    @property
    def local(self) -> str:
        """Our own end, written as `remote`; empty once the connection is closed."""
        return _shown(self._transport and self._transport.get_extra_info("sockname"))

    @property
    def remote_ip(self) -> str:
        """The peer's address without brackets; empty on a Unix socket."""
        return str(self._peer[0]) if isinstance(self._peer, tuple) else ""

    @property
    def remote_port(self) -> int:
        """The peer's port; 0 on a Unix socket."""
        return int(self._peer[1]) if isinstance(self._peer, tuple) else 0

    def _heritage(self) -> Heritage:
        """Return what its successor takes over with `_inherit`."""
        return Heritage(self.id, self._data, self._callbacks, self._peer, self.opened_at)

    def _inherit(self, heritage: Heritage) -> None:
        """Be to the application what another connection was."""
        self.id, self._data, self._callbacks, self._peer, self.opened_at = heritage

    def _begin(self, now: float) -> None:
        """Note when the connection was made."""
        self.opened_at = now
        self._heard(now)

    def _note(self, reason: str) -> None:
        """Remember why the connection closes; the first reason counts."""
        if not self.close_reason:
            self.close_reason = reason


def _shown(address: Any) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        ip, port = address[:2]
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    if isinstance(address, bytes):
        return address.decode("utf-8", "backslashreplace")
    return address if isinstance(address, str) else ""
