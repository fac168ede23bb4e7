"""What a connection needs of its owner.

`Host` is a concrete class: a Worker makes one in its process (`worker/serving.py` fills it),
a client makes one for itself. Whoever wants to know of connections that come and go derives
from it and extends `opened`, `closed` and `replaced`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from email.utils import formatdate
from threading import get_ident
from typing import TYPE_CHECKING, Any

from .deadline import DeadlineWheel
from .dispatch import cancelled_handler
from .report import Reporter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from ..limits import Limits
    from .callbacks import Callbacks
    from .tcp import Connection

__all__ = ["Host", "HostStats", "live_hosts"]

_live: set[Host] = set()

UNLIMITED_MARK = 256 * 1024
"""Back-pressure mark, in bytes, of hosts without `max_send_buffer`."""


def live_hosts() -> list[Host]:
    """Return every owner of connections in this process: Workers, and clients."""
    return list(_live)


class HostStats:
    """Counters of one host since it was made; they never go down but `connections`."""

    __slots__ = (
        "accepted",
        "bytes_read",
        "bytes_written",
        "connections",
        "handler_errors",
        "messages",
        "peak_connections",
        "reasons",
        "send_failures",
    )

    def __init__(self) -> None:
        self.accepted: int = 0
        self.connections: int = 0
        self.peak_connections: int = 0
        self.messages: int = 0
        self.send_failures: int = 0
        self.handler_errors: int = 0
        self.bytes_read: int = 0
        """Bytes of connections that are gone; live ones count for themselves."""
        self.bytes_written: int = 0
        """As `bytes_read`."""
        self.reasons: Counter[str] = Counter()
        """How often connections were closed or refused, by reason."""


class Host:
    """The owner of connections: their limits, handlers, counters and clock.

    Made inside the running loop, in the loop's thread.

    Args:
        limits: The bounds, with `idle_timeout` resolved for the protocol (None unless asked
            for, but for HTTP).
        callbacks: The handlers that all connections share.
        worker: What `Connection.worker` returns.
        name: How log lines call the owner.
        scheme: The protocol that its connections begin with, for the table of connections.
        outgoing: Whether it is a client's.
        concurrent: Whether handlers of one connection may overlap.
        cancel_on_close: Whether the peer's leaving cancels a running handler. A peer that
            ends only its own direction then counts as gone, too.
        executor: Where plain message handlers run; None: in the loop.
        origins: The only `Origin`s that may open a WebSocket; None: the host's own.
        websocket_enabled: Whether HTTP connections upgrade.
        websocket_only: Whether ordinary requests are answered 426.
        secure: Whether peers come through TLS.
    """

    __slots__ = (
        "_date",
        "_date_until",
        "callbacks",
        "cancel_on_close",
        "concurrent",
        "connections",
        "executor",
        "high_water",
        "limits",
        "loop",
        "name",
        "now",
        "origins",
        "outgoing",
        "report",
        "room",
        "scheme",
        "secure",
        "stats",
        "tasks",
        "thread",
        "websocket_enabled",
        "websocket_only",
        "wheel",
        "worker",
    )

    def __init__(
        self,
        limits: Limits,
        callbacks: Callbacks,
        *,
        worker: Any = None,
        name: str = "",
        scheme: str = "tcp",
        outgoing: bool = False,
        concurrent: bool = False,
        cancel_on_close: bool = False,
        executor: Executor | None = None,
        origins: tuple[str, ...] | None = None,
        websocket_enabled: bool = False,
        websocket_only: bool = False,
        secure: bool = False,
    ) -> None:
        self.limits: Limits = limits
        self.callbacks: Callbacks = callbacks
        self.worker: Any = worker
        self.name: str = name
        self.scheme: str = scheme
        self.outgoing: bool = outgoing
        self.concurrent: bool = concurrent
        self.cancel_on_close: bool = cancel_on_close
        self.executor: Executor | None = executor
        self.origins: tuple[str, ...] | None = origins
        self.websocket_enabled: bool = websocket_enabled or websocket_only
        self.websocket_only: bool = websocket_only
        self.secure: bool = secure
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.now: Callable[[], float] = self.loop.time
        self.thread: int = get_ident()
        self.wheel: DeadlineWheel = DeadlineWheel(self.loop)
        self.stats: HostStats = HostStats()
        self.report: Reporter = Reporter()
        self.connections: dict[int, Connection] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        limit = limits.max_send_buffer
        self.high_water: int = UNLIMITED_MARK if limit is None else max(1, limit // 2)
        """Bytes in the transport from which on it reports back-pressure."""
        self.room: float = float("inf") if limit is None else float(limit - self.high_water)
        """Bytes that may be collected before the send limit has to be computed."""
        self._date = b""
        self._date_until = 0.0
        _live.add(self)

    def opened(self, conn: Connection) -> None:
        """Take note of a connection that was made."""
        stats = self.stats
        self.connections[conn.id] = conn
        stats.accepted += 1
        stats.connections += 1
        stats.peak_connections = max(stats.peak_connections, stats.connections)

    def closed(self, conn: Connection) -> None:
        """Take note of a connection that is gone, before its `on_close` runs."""
        stats = self.stats
        self.connections.pop(conn.id, None)
        stats.connections -= 1
        stats.bytes_read += conn.bytes_read
        stats.bytes_written += conn.bytes_written
        stats.reasons[conn.close_reason] += 1

    def replaced(self, old: Connection, new: Connection) -> None:
        """Take note of an upgrade: `new` goes on with the transport and the id of `old`."""
        self.connections[new.id] = new

    def join(self, conn: Connection, room: str) -> None:
        """Put a connection into a room; only a Worker has rooms."""
        raise RuntimeError("rooms belong to a Worker: this connection has none")

    def leave(self, conn: Connection, room: str) -> None:
        """Take a connection out of a room; only a Worker has rooms."""
        raise RuntimeError("rooms belong to a Worker: this connection has none")

    def date(self, now: float) -> bytes:
        """Return the HTTP date, made afresh once a second.

        Args:
            now: The loop's clock, as `Host.now` gives it.
        """
        if now >= self._date_until:
            seconds = time.time()
            self._date = formatdate(seconds, usegmt=True).encode("ascii")
            self._date_until = now + 1.0 - seconds % 1.0
        return self._date

    def spawn(self, work: Awaitable[Any], conn: Connection) -> None:
        """Run what a handler outside a connection's order returned; log what it raises."""
        task = self.loop.create_task(self._finish(work, conn))
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _finish(self, work: Awaitable[Any], conn: Connection) -> None:
        try:
            await work
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self.handler_failed(conn, cancelled_handler(error))
        except GeneratorExit:
            raise
        except BaseException as error:
            self.handler_failed(conn, error)

    def handler_failed(self, conn: Connection, error: BaseException) -> bool:
        """Count and log what a handler raised; a KeyboardInterrupt ends the loop instead.

        Returns:
            Whether it is a failure.
        """
        if isinstance(error, KeyboardInterrupt):
            # Raised where a transport calls us, uvloop would take it for the connection's
            # failure. From a call of its own it ends either loop.
            self.loop.call_soon(_raise, error)
            return False
        self.stats.handler_errors += 1
        self.report.failure(conn, error)
        return True

    def close(self) -> None:
        """Let go of the loop's timers; connections are closed by their owner before."""
        self.report.close()
        _live.discard(self)


def _raise(error: BaseException) -> None:
    raise error
