"""Hardening section 1: every limit is provoked on a running server (L-1), and none is 0 (L-2).

A case for each name in `LIMITS`: tiny value, provocation, answer, close, counter. A limit
that nobody provokes fails `test_every_limit_has_a_case`.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from longline import Request, Worker, app
from longline.connection import HttpConnection
from longline.errors import ConfigurationError
from longline.limits import LIMITS

from ..process.service import wait_for
from .frames import CONTINUATION, PING, TEXT, frame, header, open_websocket, read_close, read_frame
from .live import Live, Peer, request

if TYPE_CHECKING:
    from pathlib import Path

    from ..process.service import Service

Serve = Callable[[Worker], Live]

CASES: dict[str, Callable[..., None]] = {}
"""The provocations by the limit that they provoke; those at the end have real processes."""

HTTP = "http://127.0.0.1:0"
TEXT_URL = "text://127.0.0.1:0"
WEBSOCKET = "websocket://127.0.0.1:0"


def case(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def register(function: Callable[..., None]) -> Callable[..., None]:
        assert name not in CASES
        CASES[name] = function
        return function

    return register


def web(**limits: Any) -> Worker:
    worker = Worker(HTTP, **limits)
    worker.on_message = lambda _conn, message: f"{len(message.query)}"
    return worker


def statuses(peer: Peer) -> list[int]:
    """Read all answers; the server closes behind the last one."""
    return [answer.status for answer in peer.answers()]


def refused(serve: Serve, worker: Worker, data: bytes, status: int, reason: str) -> None:
    """Bytes that are answered with a status, a close and one count of the reason."""
    server = serve(worker)
    with server.connect() as peer:
        peer.send(data)
        assert statuses(peer) == [status]
    server.closed(reason)


# -- sizes and numbers


@case("max_request_line")
def _(serve: Serve) -> None:
    refused(serve, web(max_request_line=20), request("/" + "a" * 20), 414, "oversize")


@case("max_head_bytes")
def _(serve: Serve) -> None:
    refused(serve, web(max_head_bytes=64), request("/", "GET", "A: " + "b" * 64), 431, "oversize")


@case("max_headers")
def _(serve: Serve) -> None:
    refused(serve, web(max_headers=2), request("/", "GET", "A: 1", "B: 1"), 431, "oversize")


@case("max_body_bytes")
def _(serve: Serve) -> None:
    data = request("/", "POST", "Content-Length: 1000000000")
    refused(serve, web(max_body_bytes=10), data, 413, "oversize")


@case("max_fields")
def _(serve: Serve) -> None:
    refused(serve, web(max_fields=2), request("/?a&b&c"), 400, "protocol_error")


@case("max_message_bytes")
def _(serve: Serve) -> None:
    worker = Worker(TEXT_URL, max_message_bytes=16)
    server = serve(worker)
    with server.connect() as peer:
        peer.send(b"x" * 17)
        assert peer.gone()
    server.closed("oversize")


def test_a_websocket_message_above_the_limit_is_1009(serve: Serve) -> None:
    """L-1, max_message_bytes: over all fragments, and from the header on."""
    server = serve(Worker(WEBSOCKET, max_message_bytes=16))
    with server.connect() as peer:
        open_websocket(peer).send(frame(TEXT, b"x" * 10, last=False))
        peer.send(frame(CONTINUATION, b"x" * 7))
        assert read_close(peer) == 1009
    with server.connect() as peer:
        open_websocket(peer).send(header(TEXT, 17))
        assert read_close(peer) == 1009
    server.closed("oversize", 2)


@case("max_connections")
def _(serve: Serve) -> None:
    """Accepting pauses, and goes on when there is room."""
    worker = Worker(TEXT_URL, max_connections=2)
    worker.on_message = lambda _conn, line: line
    server = serve(worker)
    first, second, third = (server.connect() for _ in range(3))
    first.send(b"1\n")
    second.send(b"2\n")
    third.send(b"3\n")
    assert (first.line(), second.line()) == (b"1", b"2")
    assert server.count() == 2
    assert select.select([third.sock], [], [], 0)[0] == []
    assert server.reasons["max_connections"] >= 1
    first.sock.close()
    assert third.line() == b"3"
    for peer in (second, third):
        peer.sock.close()


@case("max_connections_per_ip")
def _(serve: Serve) -> None:
    worker = Worker(TEXT_URL, max_connections_per_ip=1)
    worker.on_message = lambda _conn, line: line
    server = serve(worker)
    with server.connect() as first:
        first.send(b"1\n")
        assert first.line() == b"1"
        with server.connect() as second:
            assert second.gone()
        server.closed("max_connections_per_ip")
    wait_for(lambda: server.count() == 0)
    with server.connect() as third:
        third.send(b"3\n")
        assert third.line() == b"3"


@case("max_send_buffer")
def _(serve: Serve) -> None:
    """A byte stream closes; a message protocol drops the message and goes on."""
    results: list[bool] = []
    for url in ("tcp://127.0.0.1:0", TEXT_URL):
        worker = Worker(url, max_send_buffer=4096)
        errors: list[str] = []
        worker.on_error = lambda _conn, error, errors=errors: errors.append(str(error))

        @worker.on_message
        def flood(conn: Any, _message: object) -> None:
            results.clear()
            results.extend(conn.send(b"x" * 65536) for _ in range(200))

        server = serve(worker)
        with server.connect(receive_buffer=4096) as peer:
            peer.send(b"go\n")
            wait_for(lambda: len(results) == 200)
            assert results[0] is True
            assert results[-1] is False
            assert server.stats.send_failures >= 1
            assert "max_send_buffer" in errors[0]
            if url.startswith("tcp"):
                server.closed("slow_reader")
            else:
                assert server.count() == 1
        results.clear()


@case("max_pending")
def _(serve: Serve) -> None:
    """Reading pauses: what is decoded and what is read are both bounded; nothing is lost."""
    worker = Worker(TEXT_URL, max_pending=4)
    gate = asyncio.Event()
    seen: list[str] = []

    @worker.on_message
    async def take(_conn: object, line: str) -> None:
        await gate.wait()
        seen.append(line)

    server = serve(worker)
    numbers = [f"{number:0400d}" for number in range(20_000)]
    lines = "".join(f"{number}\n" for number in numbers).encode()
    with server.connect() as peer:
        peer.sock.setblocking(False)
        sent = 0

        def stuck() -> bool:
            nonlocal sent
            try:
                sent += peer.sock.send(lines[sent:])
            except BlockingIOError:
                return not select.select([], [peer.sock], [], 0.2)[1]
            return sent == len(lines)

        wait_for(lambda: server.count() == 1)
        wait_for(stuck)
        conn = server.call(lambda: next(iter(worker.connections.values())))
        wait_for(lambda: conn.stats.messages_in == 1)
        # One read and what is decoded of it; the rest waits in the kernel.
        assert conn.stats.bytes_read <= 512 * 1024
        server.call(gate.set)
        peer.sock.settimeout(10)
        peer.send(lines[sent:])
        wait_for(lambda: len(seen) == len(numbers))
    assert seen == numbers


@case("backlog")
def _(serve: Serve) -> None:
    """The kernel keeps no more than backlog + 1 that nobody accepts."""
    server = serve(Worker(TEXT_URL, backlog=2))
    server.call(server.worker.pause_accept)
    port = server.port
    socks = [socket.socket() for _ in range(8)]
    try:
        for sock in socks:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        wait_for(lambda: select.select([], socks[:1], [], 0)[1])
        connected = select.select([], socks, [], 0)[1]
        assert 1 <= len(connected) <= 3
    finally:
        for sock in socks:
            sock.close()


# -- time


@case("head_timeout")
def _(serve: Serve) -> None:
    server = serve(web(head_timeout=0.1))
    with server.connect() as peer:
        peer.send(b"GET / HTTP/1.1\r\n")
        assert statuses(peer) == [408]
    server.closed("head_timeout")


@case("first_byte_timeout")
def _(serve: Serve) -> None:
    server = serve(web(first_byte_timeout=0.1))
    with server.connect() as peer:
        assert peer.read_all() == b""
    server.closed("first_byte_timeout")


@case("min_body_rate")
def _(serve: Serve) -> None:
    server = serve(web(min_body_rate=1000))
    with server.connect() as peer:
        peer.send(request("/", "POST", "Content-Length: 5000"))
        peer.send(b"slow")
        assert statuses(peer) == [408]
    server.closed("body_timeout")


@case("idle_timeout")
def _(serve: Serve) -> None:
    """Between two requests, and for the protocols that asked for it."""
    server = serve(web(idle_timeout=0.1))
    with server.connect() as peer:
        peer.send(request())
        assert peer.answer().status == 200
        assert peer.read_all() == b""
    server.closed("idle")
    other = serve(Worker(TEXT_URL, idle_timeout=0.1))
    with other.connect() as peer:
        assert peer.read_all() == b""
    other.closed("idle")


@case("write_timeout")
def _(serve: Serve) -> None:
    worker = Worker(TEXT_URL, write_timeout=0.2, max_send_buffer=1 << 30)
    worker.on_connect = lambda conn: conn.send(b"x" * 8_000_000)
    server = serve(worker)
    with server.connect(receive_buffer=4096) as peer:
        server.closed("slow_reader")
        assert peer.gone()


@case("close_timeout")
def _(serve: Serve) -> None:
    """A peer that takes nothing of the last data is aborted."""
    worker = Worker(TEXT_URL, close_timeout=0.2)
    worker.on_connect = lambda conn: conn.close(b"x" * 8_000_000)
    server = serve(worker)
    with server.connect(receive_buffer=4096) as peer:
        server.closed("closed")
        server.closed("close_timeout")
        assert server.count() == 0
        # It was told what fitted into the kernel's buffers, and then that there is no more.
        assert peer.gone()
        assert len(peer.rest) < 8_000_000


@case("ping_interval")
def _(serve: Serve) -> None:
    """A silent peer is pinged; one that answers stays."""
    server = serve(Worker(WEBSOCKET, ping_interval=0.1, ping_timeout=5.0))
    with server.connect() as peer:
        open_websocket(peer)
        for _ in range(3):
            assert read_frame(peer) == (PING, b"")
            peer.send(frame(10))
        assert server.count() == 1


@case("ping_timeout")
def _(serve: Serve) -> None:
    server = serve(Worker(WEBSOCKET, ping_interval=0.1, ping_timeout=0.1))
    with server.connect() as peer:
        open_websocket(peer)
        assert read_frame(peer) == (PING, b"")
        assert peer.gone()
    server.closed("heartbeat")


@case("fragment_timeout")
def _(serve: Serve) -> None:
    server = serve(Worker(WEBSOCKET, fragment_timeout=0.1))
    with server.connect() as peer:
        open_websocket(peer).send(frame(TEXT, b"a", last=False))
        # Progress that ends nothing is none: the message has a deadline, not each fragment.
        peer.send(frame(CONTINUATION, b"b", last=False))
        assert read_close(peer) == 1008
    server.closed("fragment_timeout")


@case("response_timeout")
def _(serve: Serve) -> None:
    worker = Worker(HTTP, response_timeout=0.1)
    worker.on_message = lambda _conn, _request: None
    refused(serve, worker, request() + request("/next"), 503, "response_timeout")


@case("stop_timeout")
def _(serve: Serve) -> None:
    """Work that does not end does not keep the process."""
    worker = Worker(HTTP, stop_timeout=0.2)
    started: list[Request] = []

    @worker.on_message
    async def never(_conn: object, message: Request) -> None:
        started.append(message)
        await asyncio.Event().wait()

    server = serve(worker)
    server.gentle = True
    with server.connect() as peer:
        peer.send(request())
        wait_for(lambda: started)
        server.stop()
        assert peer.gone()
    assert server.stats.reasons["aborted"] == 1


@case("drain_grace")
def _(serve: Serve) -> None:
    """A draining process closes an idle connection after so much quiet."""
    worker = web(drain_grace=0.2, stop_timeout=0.2)
    server = serve(worker)
    with server.connect() as peer:
        peer.send(request())
        assert peer.answer().status == 200
        leave(server)
        # It still answers within the grace, and says that it is the last answer.
        peer.send(request("/?x"))
        last = peer.answer()
        assert (last.status, last.headers["connection"]) == (200, "close")
    with server_quiet(serve, web(drain_grace=0.2, stop_timeout=0.2)) as peer:
        assert peer.read_all() == b""


def leave(server: Live) -> None:
    """Leave as a worker process does in a reload."""
    limits = server.worker.limits
    work = server.serving.leave("reload", grace=limits.drain_grace, spread=limits.drain_spread)
    asyncio.run_coroutine_threadsafe(work, server.loop).result(10)


def server_quiet(serve: Serve, worker: Worker) -> Peer:
    """A connection that has been idle since before its server began to leave."""
    server = serve(worker)
    peer = server.connect()
    peer.send(request())
    assert peer.answer().status == 200
    leave(server)
    return peer


@case("drain_spread")
def _(serve: Serve) -> None:
    """The closes of long connections are spread, each with 1012; the last within the spread."""
    server = serve(Worker(WEBSOCKET, drain_spread=0.4, stop_timeout=0.2))
    peers = [open_websocket(server.connect()) for _ in range(4)]
    wait_for(lambda: server.count() == 4)
    leave(server)
    times = []
    for peer in peers:
        assert read_close(peer) == 1012
        times.append(time.monotonic())
        peer.sock.close()
    # Steps of 0.1 s: never all at once. How late a step may be is nobody's promise.
    assert times[-1] - times[0] >= 0.2
    assert times == sorted(times)


# -- those that need a master


@case("drain_timeout")
def _(service: Callable[..., Service]) -> None:
    """A reload ends the connections that do not leave by themselves."""
    running = service(
        """
        import asyncio
        from longline import Worker, run
        w = Worker("text://127.0.0.1:PORT", name="w", drain_timeout=0.5)
        @w.on_message
        async def never(conn, line):
            conn.send(line)
            await asyncio.Event().wait()
        run()
        """
    )
    running.start()
    with running.connect() as sock:
        sock.sendall(b"work\n")
        peer = Peer(sock)
        assert peer.line() == b"work"
        old = running.pids("w")
        assert running.run("reload").returncode == 0
        sock.settimeout(15)
        assert peer.gone()
    assert running.pids("w") != old
    assert "the deadline closes 1 connections" in running.text()


@case("hang_timeout")
def _(service: Callable[..., Service]) -> None:
    """A silent loop: stacks to the log, and another process in its slot."""
    running = service(
        """
        import time
        from longline import Worker, run
        w = Worker("text://127.0.0.1:PORT", name="w", hang_timeout=1)
        @w.on_message
        def said(conn, line):
            while line == "hang":
                pass
            return line
        run()
        """
    )
    running.start()
    (old,) = running.pids("w")
    with running.connect() as sock:
        sock.settimeout(30)
        sock.sendall(b"hang\n")
        assert Peer(sock).gone()
    assert running.ask("alive") == "alive"
    assert running.pids("w") != [old]
    assert "is hung" in running.text()
    assert "in said" in running.text()


@case("ready_timeout")
def _(service: Callable[..., Service]) -> None:
    running = service(
        """
        import asyncio
        from longline import Worker, run
        w = Worker("text://127.0.0.1:PORT", name="w")
        @w.on_start
        async def slow(worker):
            await asyncio.sleep(60)
        run()
        """
    )
    done = running.run("start", "-d", "--ready-timeout", "0.5")
    assert done.returncode == 1
    assert "ready_timeout" in done.stderr


@case("graceful_timeout")
def _(service: Callable[..., Service]) -> None:
    """`stop -g` waits for connections, but not for ever."""
    running = service(
        """
        from longline import Worker, run
        w = Worker("text://127.0.0.1:PORT", name="w")
        w.on_message = lambda conn, line: line
        run()
        """
    )
    running.start("--graceful-timeout", "1")
    with running.connect() as sock:
        sock.sendall(b"here\n")
        assert Peer(sock).line() == b"here"
        done = running.run("stop", "-g")
        assert done.returncode == 0, done.stderr
        assert Peer(sock).gone()


PROCESS_CASES = ("drain_timeout", "hang_timeout", "ready_timeout", "graceful_timeout")


def test_every_limit_has_a_case() -> None:
    """L-1: a limit that nobody provokes is a sentence in the documentation."""
    assert set(CASES) == set(LIMITS)


@pytest.mark.parametrize("name", [name for name in CASES if name not in PROCESS_CASES])
def test_limit_on_a_running_server(
    serve: Serve, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L-1."""
    monkeypatch.setattr(HttpConnection, "BODY_WINDOW", 0.2)
    CASES[name](serve)


@pytest.mark.parametrize("name", PROCESS_CASES)
def test_limit_of_a_process(service: Callable[..., Service], name: str) -> None:
    """L-1."""
    CASES[name](service)


@pytest.mark.parametrize("value", [0, 0.0, "", "0", -1, False, float("inf"), float("nan")])
@pytest.mark.parametrize("name", LIMITS)
def test_no_limit_is_turned_off_by_accident(name: str, value: object) -> None:
    """L-2: unlimited is spelled None."""
    option: Any = Worker if LIMITS[name].scope == "worker" else app.configure
    with pytest.raises(ConfigurationError, match=name):
        option(**{name: value})


@pytest.mark.parametrize("text", ["0", "", "-1", "nan", "inf", "0.0"])
@pytest.mark.parametrize("option", ["--ready-timeout", "--graceful-timeout"])
def test_no_deadline_of_the_command_line_is_turned_off_by_accident(
    option: str, text: str, tmp_path: Path
) -> None:
    """L-2, the same for the words of a command line."""
    from click.testing import CliRunner

    from longline.cli.program import program

    script = tmp_path / "app.py"
    script.write_text("")
    done = CliRunner().invoke(program, ["start", option, text, str(script)])
    assert done.exit_code == 2, done.output


@pytest.mark.parametrize("name", [name for name, limit in LIMITS.items() if limit.optional])
def test_unlimited_is_asked_for_by_name(name: str) -> None:
    """L-2: None is taken where a limit may be lifted at all."""
    worker = Worker(**{name: None}) if LIMITS[name].scope == "worker" else None
    assert worker is None or getattr(worker.limits, name) is None
