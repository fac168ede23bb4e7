"""A Worker that serves on a real socket while a test talks to it with raw bytes.

The Worker runs in a loop of its own thread; the test's thread blocks on its sockets, each wait
with a deadline. Nothing is mocked but the process family.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from longline.loop import new_event_loop

from ..process.service import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from longline import Worker
    from longline.worker.serving import Serving

T = TypeVar("T")

DEADLINE = 15.0


@dataclass
class Answer:
    """One HTTP answer, read by a reader that is none of ours."""

    status: int
    headers: dict[str, str]
    body: bytes


class Peer:
    """A client that is nothing but a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of it; the server may have closed already."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def end(self) -> None:
        """Send FIN and go on reading."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> bool:
        data = self.sock.recv(1 << 16)
        self.rest += data
        return bool(data)

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        while len(self.rest) < count:
            if not self._more():
                raise EOFError(f"the server closed; read so far: {self.rest!r}")
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def read_until(self, end: bytes) -> bytes:
        """Read up to and with `end`."""
        while end not in self.rest:
            if not self._more():
                raise EOFError(f"the server closed; read so far: {self.rest!r}")
        data, separator, self.rest = self.rest.partition(end)
        return data + separator

    def line(self) -> bytes:
        """Read one line, without its end."""
        return self.read_until(b"\n").rstrip(b"\n")

    def read_all(self) -> bytes:
        """Read to the end of the stream; a reset is an error."""
        while self._more():
            pass
        data, self.rest = self.rest, b""
        return data

    def gone(self) -> bool:
        """Read on until the stream has ended, by FIN or by RST."""
        with contextlib.suppress(ConnectionResetError):
            self.read_all()
        return True

    def answer(self, method: str = "GET") -> Answer:
        """Read one HTTP answer."""
        head = self.read_until(b"\r\n\r\n").decode("latin-1")
        first, *fields = head[:-4].split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value for name, value in (f.split(": ", 1) for f in fields)}
        empty = method == "HEAD" or status in ("101", "204", "304") or status.startswith("1")
        body = b"" if empty else self.read(int(headers["content-length"]))
        return Answer(int(status), headers, body)

    def answers(self) -> Iterator[Answer]:
        """Read answers until the server closes the connection, which it must."""
        with contextlib.suppress(EOFError):
            while True:
                while not self.rest:
                    if not self._more():
                        return
                yield self.answer()
        assert not self.rest, f"a broken answer: {self.rest!r}"


class Live:
    """A Worker that is being served.

    Args:
        worker: On address `...:0`, or a Unix socket.
        kind: The loop: "asyncio" or "uvloop".
    """

    def __init__(self, worker: Worker, kind: str) -> None:
        self.worker = worker
        self.kind = kind
        self.serving: Serving
        self.loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._ready: Future[None] = Future()
        self.gentle = False
        """Whether leaving lets go of the connections in good order."""
        self._thread = threading.Thread(target=self._run, name=f"server of {worker.name}")
        self._thread.start()
        self._ready.result(DEADLINE)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: new_event_loop(self.kind)) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        try:
            async with self.worker.serving():
                assert self.worker.serving_here is not None
                self.serving = self.worker.serving_here
                self._ready.set_result(None)
                await self._over.wait()
                if not self.gentle:
                    self.serving.abort_all()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    def stop(self) -> None:
        """End the service and wait for its thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._over.set)
            self._thread.join(DEADLINE)
            assert not self._thread.is_alive(), "the loop does not end"

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the loop's thread and return what it returns."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function(*args))
            except BaseException as error:
                result.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return result.result(DEADLINE)

    @property
    def port(self) -> int:
        """The TCP port."""
        return self.call(lambda: self.worker.ports[0])

    @property
    def reasons(self) -> dict[str, int]:
        """Why connections were closed or refused, and how often."""
        return self.call(lambda: {**self.serving.host.stats.reasons, **self.serving.refused})

    @property
    def stats(self) -> Any:
        """The counters of the host."""
        return self.serving.host.stats

    def count(self) -> int:
        """Return the number of live connections."""
        return self.call(lambda: len(self.worker.connections))

    def tasks(self) -> int:
        """Return the number of Tasks, without the one that serves."""
        return self.call(lambda: len(asyncio.all_tasks(self.loop)) - 1)

    def connect(self, *, receive_buffer: int = 0, timeout: float = DEADLINE) -> Peer:
        """Open a connection from 127.0.0.1."""
        address = self.worker.address
        if address is not None and address.transport == "unix":
            sock = socket.socket(socket.AF_UNIX)
            where: Any = address.path
        else:
            sock = socket.socket()
            where = ("127.0.0.1", self.port)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect(where)
        return Peer(sock)

    def closed(self, reason: str, times: int = 1) -> None:
        """Wait until so many connections were closed, or refused, for that reason."""
        wait_for(lambda: self.reasons.get(reason, 0) >= times, f"{reason}: {self.reasons}")
        assert self.reasons[reason] == times, self.reasons


def request(path: str = "/", method: str = "GET", *fields: str, body: bytes = b"") -> bytes:
    """Return one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
