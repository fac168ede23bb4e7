"""One declared Worker, alive in the running loop: hooks, listeners, connections, leaving.

It knows nothing of masters and processes. `runtime` puts it into a supervised process;
`Worker.serving` and `longline start --single` put it into anybody's loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ..connection import Connection, Host, WebSocketConnection
from ..listening import open_tcp, open_unix, socket_inode, unlink_unix
from ..osproc import raise_descriptor_limit
from .listener import Listener
from .rooms import Rooms

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from .worker import Worker

__all__ = ["Serving", "open_sockets"]

_log = logging.getLogger("longline")

SPARE_DESCRIPTORS = 128
"""Descriptors that connections never take: files, loops, clients of the application."""


class Serving:
    """A Worker that serves in this process.

    Args:
        worker: The declaration.
        slot: Its place among `processes`, 0 first.
        processes: How many processes serve this Worker.
    """

    def __init__(self, worker: Worker, *, slot: int = 0, processes: int = 1) -> None:
        self.worker = worker
        self.slot = slot
        self.processes = processes
        self.rooms: Rooms = Rooms()
        self.refused: Counter[str] = Counter()
        """Connections that were turned away before they were one, by reason."""
        self.host: _WorkerHost = _make_host(self)
        self.draining: bool = False
        self.on_empty: Callable[[], None] | None = None
        """Called when the last connection of a draining process is gone."""
        self.on_accepting: Callable[[bool], None] | None = None
        """Called when this process begins or ceases to take connections."""
        self._accepting = True
        self._listeners: dict[int | None, Listener] = {}
        self._paused = False
        self._admitting: set[asyncio.Task[Any]] = set()
        self._held = 0
        """Accepted sockets that are, or are about to be, connections."""
        self._full = False
        self._started = False
        self._by_ip: Counter[str] = Counter()
        self._ips: dict[int, str] = {}
        """Peer address, as it was at the accept, of each connection by id."""
        self._most = _connection_limit(worker)
        self._unlink: list[tuple[str, tuple[int, int]]] = []

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Run `on_start`, then accept; what came meanwhile waited in the kernel's queue."""
        self.worker.serving_here = self
        handler = self.worker.handlers.on_start
        if handler is not None:
            result = handler(self.worker)
            if isawaitable(result):
                await result
        self._started = True
        for sock in sockets:
            self.lend(None, sock)

    def adopt(self, sock: socket.socket, path: str = "") -> None:
        """Accept from a socket that this process opened itself; unlink `path` at the end."""
        if path:
            self._unlink.append((path, socket_inode(path)))
        self.lend(-1 - len(self._listeners), sock)

    # -- accepting

    def lend(self, slot: int | None, sock: socket.socket) -> None:
        """Accept from one more socket: our own (None), or a sibling's slot."""
        if slot in self._listeners or self.draining:
            sock.close()
            return
        sock.setblocking(False)
        listener = self._listeners[slot] = Listener(sock, self._admit)
        if self._accepting:
            listener.start()

    def give_back(self, slot: int) -> None:
        """Let go of a sibling's socket."""
        listener = self._listeners.pop(slot, None)
        if listener is not None:
            listener.close()

    def pause_accept(self) -> None:
        """Take no more connections in this process; the kernel's queues keep filling."""
        self._paused = True
        self._switch()

    def resume_accept(self) -> None:
        """Take connections again."""
        self._paused = False
        self._switch()

    def _switch(self) -> None:
        """Accept, or not, as wanted and as there is room; a sibling may help out meanwhile."""
        accepting = not (self._paused or self._full)
        for listener in self._listeners.values():
            if accepting:
                listener.start()
            else:
                listener.stop()
        if accepting is not self._accepting:
            self._accepting = accepting
            if self.on_accepting is not None:
                self.on_accepting(accepting)

    def _admit(self, sock: socket.socket) -> bool:
        """Make a connection of an accepted socket; False turns the peer away."""
        limit = self.host.limits.max_connections_per_ip
        ip = "" if limit is None else _peer_ip(sock)
        if limit is not None and ip:
            if self._by_ip[ip] >= limit:
                self.refused["max_connections_per_ip"] += 1
                return False
            self._by_ip[ip] += 1
        self._held += 1
        task = self.host.loop.create_task(self._connect(sock, ip))
        if not task.done():
            self._admitting.add(task)
            task.add_done_callback(self._admitting.discard)
        if not self._full and self._held >= self._most:
            self._full = True
            self.refused["max_connections"] += 1
            self._switch()
        return True

    async def _connect(self, sock: socket.socket, ip: str) -> None:
        try:
            make, codec = self.worker.connection_kind
            conn = make(self.host, codec(self.host.limits))
        except Exception:
            _log.exception("no connection of %s could be made", self.worker.name)
            self._turned_away(sock, ip)
            return
        if ip:
            self._ips[conn.id] = ip
        try:
            await self.host.loop.connect_accepted_socket(lambda: conn, sock)
        except OSError as error:
            _log.debug("an accepted connection could not be served: %s", error)
            self._turned_away(sock, self._ips.pop(conn.id, ""))

    def _turned_away(self, sock: socket.socket, ip: str) -> None:
        sock.close()
        self.refused["accept"] += 1
        self._let_go(ip)

    def _let_go(self, ip: str) -> None:
        """Count one connection less, and accept again when there is room."""
        self._held -= 1
        if ip:
            self._by_ip[ip] -= 1
            if self._by_ip[ip] <= 0:
                del self._by_ip[ip]
        if self._full and not self.draining and self._held < self._most:
            self._full = False
            self._switch()

    def departed(self, conn: Connection) -> None:
        """Take note that a connection is gone."""
        self.rooms.leave_all(conn)
        self._let_go(self._ips.pop(conn.id, ""))
        if self.draining and not self.host.connections and self.on_empty is not None:
            self.on_empty()

    # -- leaving

    def stop_accepting(self, *, last: bool = False) -> None:
        """Close this process's copies of the listening sockets.

        Args:
            last: Whether nobody else will read their queues; who waits there is let in first.
                Sockets that this process opened itself nobody else reads in any case.
        """
        for key, listener in self._listeners.items():
            if last or (key is not None and key < 0):
                listener.accept_waiting()
            listener.close()
        self._listeners.clear()

    async def leave(self, reason: str, *, grace: float, spread: float, last: bool = False) -> None:
        """Let go of every connection, in good order; what is in work is finished first.

        Args:
            reason: "stop" or "reload"; a WebSocket peer is told 1001 or 1012.
            grace: Seconds of quiet after which an idle connection is closed.
            spread: Seconds over which WebSocket closes are spread.
            last: Whether no other process will serve what waits in the sockets' queues.
        """
        if self.draining:
            return
        self.draining = True
        self.stop_accepting(last=last)
        if self._admitting:
            await asyncio.wait(self._admitting)
        if self._started:
            await self.call(self.worker.handlers.on_stop)
        connections = list(self.host.connections.values())
        sockets = [conn for conn in connections if isinstance(conn, WebSocketConnection)]
        step = spread / len(sockets) if sockets else 0.0
        for index, conn in enumerate(sockets):
            if step:
                self.host.loop.call_later(index * step, conn.drain_out, reason, grace)
            else:
                conn.drain_out(reason, grace)
        for other in connections:
            if not isinstance(other, WebSocketConnection):
                other.drain_out(reason, grace)
        if not self.host.connections and self.on_empty is not None:
            self.on_empty()

    async def leave_within(self, seconds: float) -> None:
        """Leave as for a stop, at most that many seconds long, and close."""
        empty = asyncio.Event()
        self.on_empty = empty.set
        try:
            async with asyncio.timeout(seconds):
                await self.leave("stop", grace=0.0, spread=0.0)
                if self.host.connections:
                    await empty.wait()
        except TimeoutError:
            _log.warning("the deadline closes %d connections", len(self.host.connections))
        finally:
            self.close()

    async def call(self, handler: Callable[[Worker], Any] | None) -> None:
        """Run a hook of the process; what it raises is logged."""
        if handler is None:
            return
        try:
            result = handler(self.worker)
            if isawaitable(result):
                await result
        except Exception:
            _log.exception("a hook of %s raised", self.worker.name)

    @property
    def overloads(self) -> int:
        """Times that no descriptor was left for a connection."""
        return sum(listener.overloads for listener in self._listeners.values())

    @property
    def ports(self) -> list[int]:
        """The TCP ports that are listened on."""
        names = [listener.sock.getsockname() for listener in self._listeners.values()]
        return [name[1] for name in names if isinstance(name, tuple)]

    def abort_all(self) -> None:
        """End every connection now."""
        for conn in list(self.host.connections.values()):
            conn.abort()

    def close(self) -> None:
        """Give back what is left: sockets, threads, files of Unix sockets."""
        self.stop_accepting()
        self.abort_all()
        if self.host.executor is not None:
            self.host.executor.shutdown(wait=False, cancel_futures=True)
        self.host.close()
        for path, inode in self._unlink:
            unlink_unix(path, inode)
        self.worker.serving_here = None


class _WorkerHost(Host):
    """A host that tells its Serving of connections that are gone."""

    __slots__ = ("serving",)
    serving: Serving

    def closed(self, conn: Connection) -> None:
        super().closed(conn)
        self.serving.departed(conn)

    def join(self, conn: Connection, room: str) -> None:
        self.serving.rooms.join(conn, room)

    def leave(self, conn: Connection, room: str) -> None:
        self.serving.rooms.leave(conn, room)


def _make_host(serving: Serving) -> _WorkerHost:
    worker = serving.worker
    address = worker.address
    scheme = "" if address is None else address.scheme
    handlers = worker.handlers
    upgrades = any(
        getattr(handlers, name) is not None
        for name in ("on_websocket_connect", "on_websocket_connected", "on_websocket_message")
    )
    host = _WorkerHost(
        worker.resolved_limits(scheme),
        handlers,
        worker=worker,
        name=worker.name,
        scheme=scheme,
        concurrent=worker.concurrent,
        cancel_on_close=worker.cancel_on_close,
        executor=ThreadPoolExecutor(worker.threads, f"{worker.name}-") if worker.threads else None,
        origins=worker.origins,
        websocket_enabled=scheme == "http" and upgrades,
        websocket_only=scheme == "websocket",
        secure=bool(address and address.tls),
    )
    host.serving = serving
    return host


def _connection_limit(worker: Worker) -> float:
    configured = worker.limits.max_connections
    soft, _ = raise_descriptor_limit()
    possible = max(1, soft - SPARE_DESCRIPTORS)
    return possible if configured is None else min(configured, possible)


def _peer_ip(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


def open_sockets(worker: Worker, *, join: bool = False) -> list[tuple[socket.socket, str]]:
    """Open a Worker's own listener in this process: the socket, and its Unix path or "".

    Args:
        worker: The declaration.
        join: Whether siblings, and the process that a reload replaces, may hold the port.

    Raises:
        StartError: The address cannot be had; the text says why.
    """
    address = worker.address
    if address is None:
        return []
    backlog = worker.limits.backlog
    if address.transport == "unix":
        return [(open_unix(address, backlog=backlog, mode=worker.unix_mode), address.path)]
    return [(sock, "") for sock in open_tcp(address, 1, backlog=backlog, join=join)]
