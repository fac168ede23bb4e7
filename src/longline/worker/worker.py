"""What users declare: a Worker, its address, its handlers, its limits.

A declaration does nothing by itself. `longline.run()` hands all of them to the supervisor;
`Worker.serving()` serves one in a running loop; `Worker.listen()` opens a further port inside
a worker process.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..address import Address, parse_address
from ..application import app
from ..connection import CALLBACKS, Callbacks, connection_class
from ..errors import ConfigurationError
from ..limits import LIMITS, Limits
from ..listening import resolve_host
from ..protocols.codec import UserCodec, check_protocol
from ..protocols.websocket.handshake import check_origins
from .cpu import available_cpus
from .hook import Hook
from .rooms import Room, send_to_all
from .serving import Serving, open_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from ..connection import Connection
    from ..connection.callbacks import Handler
    from ..protocols.codec import Codec, UserProtocol

__all__ = ["Handlers", "Worker"]

ConnectionKind: TypeAlias = "tuple[type[Connection], Callable[[Limits], Codec]]"

PROCESS_HOOKS = ("on_start", "on_stop", "on_reload")
WEB_SCHEMES = ("http", "websocket")
HEARING = (
    "on_message",
    "on_connect",
    "on_websocket_connect",
    "on_websocket_connected",
    "on_websocket_message",
)
"""The handlers that hear of a peer, and may answer it or give it handlers of its own."""


class Handlers(Callbacks):
    """The handlers of a Worker: those of its connections, and those of its process."""

    __slots__ = PROCESS_HOOKS

    on_start: Handler | None
    on_stop: Handler | None
    on_reload: Handler | None

    def __init__(self, **handlers: Any) -> None:
        for name in PROCESS_HOOKS:
            setattr(self, name, handlers.pop(name, None))
        super().__init__(**handlers)


class Worker:
    """A service on one address, run by `count` processes.

        chat = Worker("websocket://0.0.0.0:2346", name="chat", count=4)

        @chat.on_message
        async def said(conn, text):
            return text.upper()

    Args:
        listen: Address (`scheme://host:port`, `scheme+unix:///path`, ...); None for a Worker
            without a listener, which runs timers, consumers or clients.
        name: How it is shown, and matched at a reload; by default the address as written.
        count: Processes, at least 1; "auto" takes the processors that we may use.
        user: Whom its processes become after the fork; needs a service started as root.
        reloadable: False keeps processes and connections over a reload; `on_reload` runs.
        reuse_port: False gives all processes one socket instead of one each.
        unix_mode: Permissions of a Unix socket's file.
        loop: "auto" (uvloop where it exists), "uvloop", "asyncio", or a factory.
        threads: Run plain message handlers in that many threads; 0 runs them in the loop.
        concurrent: Let handlers of one connection overlap instead of keeping their order.
        cancel_on_close: Cancel a running handler when its peer goes.
        origins: The only origins whose pages may open a WebSocket, ("*",) for all; None
            allows the host that the page came from.
        protocol: A protocol of one's own (`decode`, `encode`) instead of the scheme's.
        **options: Limits by the names of docs/limits.md, and handlers by theirs.

    Raises:
        AddressError: The address cannot be understood.
        ConfigurationError: An option is unknown or out of bounds.
        TypeError: A handler does not take the arguments that it will be called with.
    """

    on_start: Hook[Callable[[Worker], Any]] = Hook("handlers", "worker")
    """`on_start(worker)`: in each process, before it accepts; resources belong here."""
    on_stop: Hook[Callable[[Worker], Any]] = Hook("handlers", "worker")
    """`on_stop(worker)`: in each process that leaves, while its connections still live."""
    on_reload: Hook[Callable[[Worker], Any]] = Hook("handlers", "worker")
    """`on_reload(worker)`: at a reload, in the processes of a Worker that is not reloadable."""
    on_connect: Hook[Callable[[Any], Any]] = Hook("handlers", "conn")
    """`on_connect(conn)`: a peer is there; for WebSocket, after the handshake."""
    on_message: Hook[Callable[[Any, Any], Any]] = Hook("handlers", "conn, message")
    """`on_message(conn, message)`: one message; what it returns is sent."""
    on_close: Hook[Callable[[Any], Any]] = Hook("handlers", "conn")
    """`on_close(conn)`: exactly once, whatever closed the connection."""
    on_error: Hook[Callable[[Any, Exception], Any]] = Hook("handlers", "conn, error")
    """`on_error(conn, error)`: a handler raised, or a send failed."""
    on_buffer_full: Hook[Callable[[Any], Any]] = Hook("handlers", "conn")
    """`on_buffer_full(conn)`: the peer takes less than it is sent."""
    on_buffer_drain: Hook[Callable[[Any], Any]] = Hook("handlers", "conn")
    """`on_buffer_drain(conn)`: the peer has caught up."""
    on_websocket_connect: Hook[Callable[[Any, Any], Any]] = Hook("handlers", "conn, request")
    """`on_websocket_connect(conn, request)`: before the 101; return a Response to refuse."""
    on_websocket_connected: Hook[Callable[[Any, Any], Any]] = Hook("handlers", "conn, request")
    """`on_websocket_connected(conn, request)`: the WebSocket is open."""
    on_websocket_message: Hook[Callable[[Any, Any], Any]] = Hook("handlers", "conn, message")
    """`on_websocket_message(conn, message)`: str or bytes; makes an `http` Worker upgrade."""
    on_websocket_close: Hook[Callable[[Any, int, str], Any]] = Hook(
        "handlers", "conn, code, reason"
    )
    """`on_websocket_close(conn, code, reason)`: before `on_close`; 1006 without a close frame."""
    on_websocket_ping: Hook[Callable[[Any, bytes], Any]] = Hook("handlers", "conn, payload")
    """`on_websocket_ping(conn, payload)`: the pong is on its way already."""
    on_websocket_pong: Hook[Callable[[Any, bytes], Any]] = Hook("handlers", "conn, payload")
    """`on_websocket_pong(conn, payload)`: an answer to a ping."""

    def __init__(
        self,
        listen: str | None = None,
        *,
        name: str | None = None,
        count: int | Literal["auto"] = 1,
        user: str | None = None,
        reloadable: bool = True,
        reuse_port: bool = True,
        unix_mode: int = 0o600,
        loop: str | Callable[[], Any] = "auto",
        threads: int = 0,
        concurrent: bool = False,
        cancel_on_close: bool = False,
        origins: Collection[str] | None = None,
        protocol: Callable[[], UserProtocol] | None = None,
        **options: Any,
    ) -> None:
        self.address: Address | None = None if listen is None else parse_address(listen)
        self.name: str = name or listen or "none"
        self.named: bool = bool(name)
        self.count: int = _checked_count(count)
        self.user = user
        self.reloadable: bool = bool(reloadable)
        self.reuse_port: bool = bool(reuse_port)
        self.unix_mode = unix_mode
        self.loop = loop
        self.threads: int = _checked_threads(threads)
        self.concurrent: bool = bool(concurrent)
        self.cancel_on_close: bool = bool(cancel_on_close)
        self.origins: tuple[str, ...] | None = None if origins is None else check_origins(origins)
        self.handlers: Handlers = Handlers()
        for handler in (*CALLBACKS, *PROCESS_HOOKS):
            setattr(self, handler, options.pop(handler, None))
        self._idle_asked = "idle_timeout" in options
        self.limits: Limits = _worker_limits(options)
        self.connection_kind: tuple[type[Connection], Callable[[Limits], Codec]] = (
            self._choose_protocol(protocol)
        )
        self.serving_here: Serving | None = None
        app.declare(self)

    def __repr__(self) -> str:
        return f"<Worker {self.name!r} count={self.count}>"

    # -- in a process that serves it

    @property
    def id(self) -> int:
        """This process's place, 0 to count - 1; the same again after a restart."""
        return self._serving.slot

    @property
    def connections(self) -> dict[int, Connection]:
        """The live connections of this process by their ids; not to be changed."""
        return self._serving.host.connections

    def broadcast(self, message: Any, *, exclude: Connection | Collection[Connection] = ()) -> int:
        """Send a message to every connection, encoded once.

        Args:
            message: What `Connection.send` takes.
            exclude: A connection, or several, that shall not get it.

        Returns:
            How many connections accepted it.

        Raises:
            RuntimeError: The Worker has several processes, or does not serve here.
            TypeError, LocalProtocolError: As `Connection.send`.
        """
        return send_to_all(self._alone().host.connections.values(), message, exclude)

    def to(self, room: str) -> Room:
        """Return the room of that name, to send to everybody who joined it.

        Raises:
            RuntimeError: The Worker has several processes, or does not serve here.
        """
        return Room(self._alone().rooms, room)

    def pause_accept(self) -> None:
        """Take no more connections in this process; siblings go on, the queue fills."""
        self._serving.pause_accept()

    def resume_accept(self) -> None:
        """Take connections in this process again."""
        self._serving.resume_accept()

    def listen(self) -> None:
        """Open this Worker's address in the running process, beside what it serves already.

        For a further port inside a worker process, for instance one by which other programs
        push. Its handlers run here, without `on_start`; it ends with the process.

        Raises:
            StartError: The address cannot be had.
            RuntimeError: It serves here already, or no event loop is running.
        """
        if self.serving_here is not None:
            raise RuntimeError(f"{self.name} serves here already")
        opened = open_sockets(self, join=True)
        self.serving_here = serving = Serving(self)
        for sock, path in opened:
            serving.adopt(sock, path)
        app.embed(serving)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Worker]:
        """Serve this Worker in the running loop, without master or processes.

            async with worker.serving():
                ...

        Leaving the block stops accepting and lets go of the connections, for at most
        `stop_timeout` seconds.

        Raises:
            StartError: The address cannot be had.
            RuntimeError: It serves here already.
        """
        if self.serving_here is not None:
            raise RuntimeError(f"{self.name} serves here already")
        app.served()
        opened = open_sockets(self)
        serving = Serving(self)
        try:
            # First all are its own, so that nothing is left open should `on_start` raise.
            serving.pause_accept()
            for sock, path in opened:
                serving.adopt(sock, path)
            await serving.start([])
            serving.resume_accept()
            yield self
        finally:
            await serving.leave_within(self.limits.stop_timeout)

    @property
    def ports(self) -> list[int]:
        """The TCP ports that this process listens on (useful when port 0 was asked for)."""
        return self._serving.ports

    # -- for the supervisor

    def to_json(self) -> dict[str, Any]:
        """Return what the master has to know (`supervisor.manifest.WorkerSpec`).

        Raises:
            StartError: The host of the address is unknown.
        """
        limits = self.limits
        return {
            "name": self.name,
            # A name is looked up here: the master must wait for nobody's name server.
            "listen": None if self.address is None else str(resolve_host(self.address)),
            "count": self.count,
            "reuse_port": self.reuse_port,
            "reloadable": self.reloadable,
            "backlog": limits.backlog,
            "user": self.user,
            "unix_mode": self.unix_mode,
            "loop": self.loop if isinstance(self.loop, str) else "custom",
            "stop_timeout": limits.stop_timeout,
            "drain_timeout": limits.drain_timeout,
            "drain_spread": limits.drain_spread,
            "drain_grace": limits.drain_grace,
            "hang_timeout": limits.hang_timeout,
        }

    def resolved_limits(self, scheme: str) -> Limits:
        """Return the limits that hold for its connections.

        `idle_timeout` is a default of HTTP alone: a silent chat or sensor is no error.
        """
        if scheme in WEB_SCHEMES or self._idle_asked:
            return self.limits
        return self.limits.replace(idle_timeout=None)

    @property
    def deaf(self) -> bool:
        """Whether it listens, but no handler would ever hear of what arrives."""
        handlers = self.handlers
        return self.address is not None and not any(
            getattr(handlers, name) is not None for name in HEARING
        )

    @property
    def _serving(self) -> Serving:
        if self.serving_here is None:
            raise RuntimeError(f"{self.name} does not serve in this process (yet)")
        return self.serving_here

    def _alone(self) -> Serving:
        serving = self._serving
        if serving.processes > 1:
            raise RuntimeError(
                "broadcast() and rooms reach one process only so far, and "
                f"{self.name} has {serving.processes}: use count=1"
            )
        return serving

    def _choose_protocol(
        self, protocol: Callable[[], UserProtocol] | None
    ) -> tuple[type[Connection], Callable[[Limits], Codec]]:
        address = self.address
        if address is not None and address.tls:
            raise ConfigurationError(f"{address}: TLS is not served yet")
        if address is not None and address.transport == "udp":
            raise ConfigurationError(f"{address}: UDP is not served yet")
        if protocol is None:
            return connection_class("tcp" if address is None else address.scheme)
        check_protocol(protocol)
        kind, _ = connection_class("tcp")
        return kind, lambda limits: UserCodec(protocol(), limits.max_message_bytes)


def _checked_count(count: int | str) -> int:
    if count == "auto":
        return available_cpus()
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigurationError(f'count is a whole number from 1 on, or "auto", not {count!r}')
    return count


def _checked_threads(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise ConfigurationError(f"threads is a whole number from 0 on, not {threads!r}")
    return threads


def _worker_limits(options: dict[str, Any]) -> Limits:
    for name in options:
        limit = LIMITS.get(name)
        if limit is None:
            raise ConfigurationError(f"a Worker has no option {name!r}")
        if limit.scope != "worker":
            raise ConfigurationError(
                f"{name} belongs to the application: app.configure({name}=...)"
            )
    return Limits(**options)
