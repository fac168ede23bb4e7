"""Clients that keep a service busy and write down every single outcome.

Nothing is retried: a request that gets no right answer is a failure, with the moment and the
process it belongs to. Each request carries a sequence number that the answer must repeat, so
that a lost, doubled or mixed-up answer shows.

Two kinds of clients, each in a thread of its own: one keeps its connection until the service
says `Connection: close` or closes it while it is idle; the other opens one for each request.
The service answers with `HANDLER`, or with the like.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

HANDLER = """
@web.on_message
async def answer(conn, request):
    if request.path.startswith("/slow"):
        await asyncio.sleep(0.03)
    return f"{request.path} {os.getpid()}"
"""
"""What a script under load declares for its Worker `web`; it imports asyncio and os."""

PATIENCE = 15.0
"""Seconds after which an answer counts as never coming."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that got no right answer.

    Attributes:
        kind: "refused", "reset", "eof", "timeout" or "wrong".
        began: When the client set about this request (monotonic).
        ended: When it knew.
        pid: The process that the connection was known to belong to; None when it was new.
        detail: What came instead.
    """

    kind: str
    began: float
    ended: float
    pid: int | None
    detail: str


class Load:
    """Constant load for the time of a `with` block.

    Args:
        port: Where the service listens on 127.0.0.1.
        keep_alive: Clients that keep their connection.
        fresh: Clients that make one for each request.
        pace: Seconds that a client rests between two requests.
    """

    def __init__(
        self, port: int, *, keep_alive: int = 4, fresh: int = 4, pace: float = 0.01
    ) -> None:
        self.failures: list[Failure] = []
        self.answers: Counter[int] = Counter()
        """Right answers, by the pid of the process that gave them."""
        self.reconnects = 0
        """Kept connections that the service closed in good order."""
        kinds = [True] * keep_alive + [False] * fresh
        self._clients = [_Client(self, port, n, kept, pace) for n, kept in enumerate(kinds)]
        self._over = threading.Event()

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for client in self._clients:
            client.join(2 * PATIENCE)

    @property
    def answered(self) -> int:
        """How many requests got their right answer."""
        return self.answers.total()

    @property
    def over(self) -> bool:
        """Whether clients shall stop."""
        return self._over.is_set()

    def rest(self, seconds: float) -> None:
        """Wait between two requests, not beyond the end."""
        self._over.wait(seconds)

    def report(self) -> str:
        """Return what went wrong, for the text of a failed assertion."""
        kinds = Counter(failure.kind for failure in self.failures)
        first = "\n".join(map(str, self.failures[:5]))
        return f"{self.answered} answered, failed: {dict(kinds)}\n{first}"


class _Client(threading.Thread):
    """One client; every second of its requests takes the handler a while."""

    def __init__(self, load: Load, port: int, number: int, kept: bool, pace: float) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self._load = load
        self._port = port
        self._number = number
        self._kept = kept
        self._pace = pace
        self._sock: socket.socket | None = None
        self._pid: int | None = None

    def run(self) -> None:
        sequence = 0
        while not self._load.over:
            sequence += 1
            self._request(sequence)
            self._load.rest(self._pace)
        self._drop()

    def _request(self, sequence: int) -> None:
        path = f"/{'slow' if sequence % 2 else 'fast'}/{self._number}/{sequence}"
        began = time.monotonic()
        try:
            sock = self._connection()
            close = "" if self._kept else "Connection: close\r\n"
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: load\r\n{close}\r\n".encode())
            status, last, body = read_answer(sock)
        except (OSError, EOFError, ValueError) as error:
            self._fail(_kind(error), began, repr(error))
            return
        said, _, pid = body.partition(" ")
        if status != 200 or said != path or not pid.isdigit():
            self._fail("wrong", began, f"{status} {body!r} for {path}")
            return
        self._pid = int(pid)
        self._load.answers[self._pid] += 1
        if last:
            self._load.reconnects += self._kept
            self._drop()

    def _connection(self) -> socket.socket:
        if self._sock is not None and _closed(self._sock):
            self._load.reconnects += 1
            self._drop()
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._sock

    def _fail(self, kind: str, began: float, detail: str) -> None:
        failure = Failure(kind, began, time.monotonic(), self._pid, detail)
        self._load.failures.append(failure)
        self._drop()

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = self._pid = None


def _kind(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "refused"
        case TimeoutError():
            return "timeout"
        case EOFError():
            return "eof"
        case ValueError():
            return "wrong"
    return "reset"


def _closed(sock: socket.socket) -> bool:
    """Whether the service closed a connection that nobody had asked anything on."""
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        with suppress(OSError):
            sock.settimeout(PATIENCE)


def read_answer(sock: socket.socket) -> tuple[int, bool, str]:
    """Read one answer with a Content-Length: its status, whether it is the last, its body.

    Raises:
        EOFError: The connection ended before the answer did.
        ValueError: It is no HTTP answer.
        OSError: The connection broke, or nothing came for the socket's timeout.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock, data)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(first)
    fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    length = int(fields["content-length"])
    while len(body) < length:
        body += _some(sock, data)
    if len(body) > length:
        raise ValueError(f"more than an answer came: {body!r}")
    return int(status[:3]), fields.get("connection", "").lower() == "close", body.decode()


def _some(sock: socket.socket, before: bytes) -> bytes:
    chunk = sock.recv(65536)
    if not chunk:
        raise EOFError(f"after {before!r}")
    return chunk
