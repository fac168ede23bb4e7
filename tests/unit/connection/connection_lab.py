"""One connection on a real socket, a raw peer at its other end, on each event loop."""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import TYPE_CHECKING, Any

from longline.connection import Callbacks, Connection, Host, connection_class
from longline.limits import Limits
from longline.loop import new_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PATIENCE = 10.0


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test, whose first argument is the `lab`, in the lab's loop."""

    @functools.wraps(test)
    def run(lab: Lab, **fixtures: Any) -> None:
        lab.run(test(lab, **fixtures))

    return run


class Peer:
    """The far end: bytes in, bytes out, and a look at the connection."""

    def __init__(self, sock: socket.socket, conn: Connection, lab: Lab) -> None:
        self.sock = sock
        self.first = conn
        self.host: Host = conn._host
        self.lab = lab
        self.received = b""

    @property
    def conn(self) -> Any:
        """The connection as it is now: a WebSocket's, after the upgrade."""
        return self.host.connections.get(self.first.id, self.first)

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self.lab.loop.sock_sendall(self.sock, data), PATIENCE)

    async def read(self, size: int = 1 << 16) -> bytes:
        return await asyncio.wait_for(self.lab.loop.sock_recv(self.sock, size), PATIENCE)

    async def exactly(self, count: int) -> bytes:
        while len(self.received) < count:
            data = await self.read()
            assert data, f"the stream ended after {self.received!r}"
            self.received += data
        data, self.received = self.received[:count], self.received[count:]
        return data

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.received:
            data = await self.read()
            assert data, f"the stream ended after {self.received!r}"
            self.received += data
        end = self.received.index(mark) + len(mark)
        data, self.received = self.received[:end], self.received[end:]
        return data

    async def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        while data := await self.read():
            self.received += data
        data, self.received = self.received, b""
        return data

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    async def gone(self) -> None:
        """Wait until the connection is closed."""
        await asyncio.wait_for(self.conn.wait_closed(), PATIENCE)


class Lab:
    """Makes connections; `run` fails when the loop was told of an unhandled exception."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.loop = new_event_loop(kind)
        self.complaints: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))
        self.peers: list[Peer] = []

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(work, 30))
        assert self.complaints == []

    def host(self, limits: dict[str, Any], options: dict[str, Any]) -> Host:
        names = ("concurrent", "cancel_on_close", "executor", "origins", "websocket_enabled",
                 "websocket_only", "secure", "worker", "name")  # fmt: skip
        chosen = {name: options.pop(name) for name in names if name in options}
        return Host(Limits(**limits), Callbacks(**options), **chosen)

    async def connect(
        self, scheme: str = "text", *, tcp: bool = False, buffer: int = 0, **options: Any
    ) -> Peer:
        """Make a connection; options are limits, handlers, and arguments of `Host`."""
        names = [name for name in Limits.__slots__ if name in options]
        limits = {name: options.pop(name) for name in names}
        if scheme not in ("http", "websocket"):
            limits.setdefault("idle_timeout", None)
        if scheme == "websocket":
            options["websocket_only"] = True
        host = self.host(limits, options)
        near, far = _tcp_pair() if tcp else socket.socketpair()
        if buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        far.setblocking(False)
        make, factory = connection_class(scheme)
        _, conn = await self.loop.connect_accepted_socket(
            lambda: make(host, factory(host.limits)), near
        )
        peer = Peer(far, conn, self)
        self.peers.append(peer)
        return peer

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition, not for a time."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - conditions of sockets have no event
                await asyncio.sleep(0.001)

    async def turns(self, count: int = 5) -> None:
        """Let the loop turn, for showing that something does not happen."""
        for _ in range(count):
            await asyncio.sleep(0)

    def finish(self) -> None:
        async def close() -> None:
            for peer in self.peers:
                peer.close()
                peer.conn.abort()
                peer.host.close()
            await self.turns()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await self.turns()
            await self.loop.shutdown_default_executor()

        self.loop.run_until_complete(close())
        self.loop.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    return near, far
