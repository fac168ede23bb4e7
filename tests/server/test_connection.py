"""Connections on real sockets: send and its answers, closing, pausing, pipes, faults, fairness.

Core behaviours 17 to 23; hardening C-1 to C-4, C-7, W-7, W-10, W-12, W-13, B-13.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import re
import resource
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longline import Request, Worker
from longline._core._states import TURN_MESSAGES

from ..process.service import wait_for
from .frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    close,
    frame,
    open_websocket,
    read_close,
    read_frame,
)
from .live import Live, Peer, request

Serve = Callable[[Worker], Live]

TCP = "tcp://127.0.0.1:0"
LINES = "text://127.0.0.1:0"
FRAMES = "frame://127.0.0.1:0"
JSON_LINES = "jsonl://127.0.0.1:0"
HTTP = "http://127.0.0.1:0"
WEBSOCKET = "websocket://127.0.0.1:0"

MIB = 1 << 20


def only(server: Live) -> Any:
    """Return the one connection of a server, once it is there."""
    return wait_for(
        lambda: server.call(lambda: next(iter(server.worker.connections.values()), None))
    )


def resident() -> int:
    """Return this process's memory in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


# -- send, buffers, closing


def test_send_answers_true_when_written_queued_and_false_over_the_limit(serve: Serve) -> None:
    """Core 17: the rows of send's table, and the order across partial writes."""
    worker = Worker(LINES, max_send_buffer=256 * 1024)
    errors: list[Exception] = []
    worker.on_error = lambda _conn, error: errors.append(error)
    server = serve(worker)
    with server.connect(receive_buffer=4096) as peer:
        conn = only(server)
        results: list[bool] = []

        def fill() -> None:
            for number in range(10_000):
                results.append(conn.send(f"{number:05d}" + "x" * 1000))
                if not results[-1]:
                    return

        server.call(fill)
        assert results[0] is True
        assert results[-1] is False
        accepted = len(results) - 1
        assert conn.stats.send_failures == 1
        assert len(errors) == 1
        lines = [peer.line() for _ in range(accepted)]
        assert [int(line[:5]) for line in lines] == list(range(accepted))
        wait_for(lambda: server.call(lambda: conn.send_queue) == 0)
        assert server.call(conn.send, "again") is True
        assert peer.line() == b"again"
    wait_for(lambda: conn.closed)
    assert server.call(conn.send, "gone") is False
    assert conn.stats.send_failures == 2


def test_send_raises_for_what_the_protocol_cannot_express(serve: Serve) -> None:
    """Core 17: that is the caller's error, the connection stays."""
    server = serve(Worker(LINES))
    with server.connect():
        conn = only(server)
        with pytest.raises(TypeError):
            server.call(conn.send, 3.5)
        assert conn.state == "open"


def test_slow_reader_gets_full_and_drain_in_pairs(serve: Serve) -> None:
    """Core 18, C-3: full, drops with an error, drain once the peer has caught up."""
    worker = Worker(LINES, max_send_buffer=64 * 1024)
    events: list[str] = []
    worker.on_buffer_full = lambda _conn: events.append("full")
    worker.on_buffer_drain = lambda _conn: events.append("drain")
    worker.on_error = lambda _conn, error: events.append(type(error).__name__)
    server = serve(worker)
    with server.connect(receive_buffer=4096) as peer:
        conn = only(server)
        for turn in range(1, 4):

            def fill() -> int:
                sent = 0
                while conn.send("x" * 10_000):
                    sent += 1
                return sent

            total = server.call(fill)
            for _ in range(total):
                peer.line()
            wait_for(lambda turn=turn: events.count("drain") == turn)
    assert [event for event in events if event != "BufferError"] == ["full", "drain"] * 3
    assert events.count("BufferError") == 3


def test_drain_waits_for_room(serve: Serve) -> None:
    """W-12: the awaitable form of send bounds the memory of a flood to a slow reader."""
    worker = Worker(TCP, max_send_buffer=128 * 1024)
    highest: list[int] = []
    total = 16 * MIB

    @worker.on_connect
    async def flood(conn: Any) -> None:
        for _ in range(total // 65536):
            assert conn.send(b"x" * 65536)
            await conn.drain()
            highest.append(conn.send_queue)

    server = serve(worker)
    with server.connect() as peer:
        assert len(peer.read(total)) == total
    assert max(highest) <= 128 * 1024


@pytest.mark.parametrize("how", ["close", "end"])
def test_close_delivers_its_data_before_the_end(serve: Serve, how: str) -> None:
    """Core 19: all of it, however slowly the peer reads; on_close exactly once."""
    worker = Worker(TCP, max_send_buffer=None)
    gone: list[object] = []
    worker.on_close = gone.append
    worker.on_connect = lambda conn: getattr(conn, how)(b"y" * 4_000_000)
    server = serve(worker)
    with server.connect(receive_buffer=8192) as peer:
        data = peer.read_all()
    assert len(data) == 4_000_000
    wait_for(lambda: server.count() == 0)
    assert len(gone) == 1
    server.closed("closed")


def test_abort_loses_what_waits(serve: Serve) -> None:
    """Core 19: destroy."""
    worker = Worker(TCP)
    gone: list[object] = []
    worker.on_close = gone.append

    @worker.on_connect
    def hello(conn: Any) -> None:
        conn.send(b"z" * 8_000_000)
        conn.abort()
        conn.close()
        conn.abort()

    server = serve(worker)
    with server.connect(receive_buffer=4096) as peer:
        assert peer.gone()
    wait_for(lambda: server.count() == 0)
    assert len(gone) == 1
    server.closed("aborted")


@pytest.mark.parametrize("ending", ["fin", "rst", "server", "raise"])
def test_on_close_runs_exactly_once(serve: Serve, ending: str) -> None:
    """Core 19."""
    worker = Worker(LINES)
    gone: list[str] = []
    worker.on_close = lambda conn: gone.append(conn.close_reason)

    @worker.on_message
    def said(conn: Any, line: str) -> None:
        if line == "server":
            conn.close("bye")
            conn.close()
        elif line == "raise":
            raise ValueError(line)

    server = serve(worker)
    peer = server.connect()
    only(server)
    if ending == "fin":
        peer.sock.close()
    elif ending == "rst":
        peer.reset()
    else:
        peer.send(ending.encode() + b"\n")
        assert peer.gone()
        peer.sock.close()
    wait_for(lambda: server.count() == 0)
    # A reset may be seen as such, or as the end that came before it.
    expected = {"fin": ("peer",), "rst": ("reset", "peer"), "server": ("closed",),
                "raise": ("handler_error",)}  # fmt: skip
    assert len(gone) == 1
    assert gone[0] in expected[ending]


def test_half_closed_peer_gets_its_answers(serve: Serve) -> None:
    """design.md section 5: buffered messages are delivered, answers flushed, then FIN."""
    worker = Worker(LINES)

    @worker.on_message
    async def said(_conn: object, line: str) -> str:
        await asyncio.sleep(0)
        return line

    with serve(worker).connect() as peer:
        peer.send(b"".join(b"%d\n" % number for number in range(300)))
        peer.end()
        assert peer.read_all() == b"".join(b"%d\n" % number for number in range(300))


def test_pause_stops_delivery_even_of_received_messages(serve: Serve) -> None:
    """Core 20: and resume goes on in order."""
    worker = Worker(LINES)
    seen: list[str] = []

    @worker.on_message
    def said(conn: Any, line: str) -> None:
        seen.append(line)
        if line == "3":
            conn.pause()

    server = serve(worker)
    with server.connect() as peer:
        peer.send(b"".join(b"%d\n" % number for number in range(10)))
        wait_for(lambda: len(seen) == 4)
        peer.send(b"10\n11\n")
        # A turn of the loop later still nothing.
        server.call(lambda: None)
        server.call(lambda: None)
        assert seen == ["0", "1", "2", "3"]
        conn = only(server)
        server.call(conn.resume)
        wait_for(lambda: len(seen) == 12)
    assert seen == [str(number) for number in range(12)]


# -- pipes


def relay(serve: Serve, total: int) -> None:
    """Send `total` bytes each way through two piped connections, in bounded memory."""
    worker = Worker(TCP, max_send_buffer=512 * 1024)
    ends: list[Any] = []

    @worker.on_connect
    def joined(conn: Any) -> None:
        ends.append(conn)
        conn.pause()
        if len(ends) == 2:
            ends[0].pipe(ends[1])
            ends[1].pipe(ends[0])
            ends[0].resume()
            ends[1].resume()

    server = serve(worker)
    left, right = server.connect(), server.connect()
    wait_for(lambda: len(ends) == 2)
    block = random.Random(7).randbytes(1 << 16)
    received = {left: 0, right: 0}
    wrong: list[int] = []

    def push(peer: Peer) -> None:
        for _ in range(total // len(block)):
            peer.sock.sendall(block)
        peer.end()

    def pull(peer: Peer) -> None:
        buffer = bytearray(1 << 18)
        while count := peer.sock.recv_into(buffer):
            at = received[peer] % len(block)
            if buffer[:64] != (block + block)[at : at + 64][:count] and count >= 64:
                wrong.append(received[peer])
            received[peer] += count

    queued = 0
    before = resident()
    threads = [threading.Thread(target=work, args=(peer,))
               for work in (push, pull) for peer in (left, right)]  # fmt: skip
    for thread in threads:
        thread.start()
    growth = 0
    while any(thread.is_alive() for thread in threads):
        queued = max(queued, server.call(lambda: max(conn.send_queue for conn in ends)))
        growth = max(growth, resident() - before)
        threads[0].join(0.02)
    assert received == {left: total, right: total}
    assert wrong == []
    # The mark of the pipe, and one read that crosses it.
    assert queued <= MIB
    assert growth < 64 * MIB
    left.sock.close()
    right.sock.close()
    wait_for(lambda: server.count() == 0)


def test_pipe_both_ways_in_bounded_memory(serve: Serve) -> None:
    """Core 21, the short form."""
    relay(serve, 64 * MIB)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_pipe_of_a_gigabyte_in_bounded_memory(serve: Serve) -> None:
    """Core 21."""
    relay(serve, 1024 * MIB)


def test_pipe_holds_the_source_while_the_target_does_not_read(serve: Serve) -> None:
    """Core 21: what a stalled target leaves waits at the sender, not with us."""
    worker = Worker(TCP, max_send_buffer=256 * 1024)
    ends: list[Any] = []
    worker.on_connect = ends.append
    server = serve(worker)
    source, target = server.connect(), server.connect(receive_buffer=4096)
    wait_for(lambda: len(ends) == 2)
    server.call(ends[0].pipe, ends[1])
    source.sock.setblocking(False)
    sent = 0

    def stuck() -> bool:
        nonlocal sent
        try:
            sent += source.sock.send(b"x" * 65536)
        except BlockingIOError:
            return not select.select([], [source.sock], [], 0.2)[1]
        assert sent < 256 * MIB
        return False

    wait_for(stuck)
    assert server.call(lambda: ends[1].send_queue) <= MIB
    source.sock.settimeout(10)
    source.end()
    assert len(target.read_all()) == sent
    for peer in (source, target):
        peer.sock.close()


# -- protocols, and how the network cuts them


def line_wire(messages: list[str]) -> bytes:
    return "".join(f"{message}\n" for message in messages).encode()


def frame_wire(messages: list[str]) -> bytes:
    return b"".join(struct.pack("!I", len(m) + 4) + m.encode() for m in messages)


def json_wire(messages: list[str]) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def http_wire(messages: list[str]) -> bytes:
    return b"".join(request("/", "POST", body=message.encode()) for message in messages)


def websocket_wire(messages: list[str]) -> bytes:
    return b"".join(frame(TEXT, message.encode()) for message in messages)


WIRES = [
    pytest.param(LINES, line_wire, id="text"),
    pytest.param(FRAMES, frame_wire, id="frame"),
    pytest.param(JSON_LINES, json_wire, id="jsonl"),
    pytest.param(HTTP, http_wire, id="http"),
    pytest.param(WEBSOCKET, websocket_wire, id="websocket"),
]


def collector(url: str, seen: list[str]) -> Worker:
    worker = Worker(url)

    @worker.on_message
    def said(_conn: object, message: Any) -> str | None:
        if isinstance(message, Request):
            seen.append(message.body.decode())
            return "ok"
        seen.append(message.decode() if isinstance(message, bytes) else message)
        return None

    return worker


@pytest.mark.parametrize(("url", "wire"), WIRES)
def test_message_in_segments_of_one_byte(
    serve: Serve, url: str, wire: Callable[[list[str]], bytes]
) -> None:
    """Core 23."""
    seen: list[str] = []
    messages = ["one", "two words", "x" * 200]
    server = serve(collector(url, seen))
    with server.connect() as peer:
        if url == WEBSOCKET:
            open_websocket(peer)
        for byte in wire(messages):
            peer.send(bytes([byte]))
        wait_for(lambda: len(seen) == len(messages))
    assert seen == messages


@pytest.mark.parametrize(("url", "wire"), WIRES)
def test_many_messages_in_one_segment(
    serve: Serve, url: str, wire: Callable[[list[str]], bytes]
) -> None:
    """Core 23: more than one turn's share, in order."""
    seen: list[str] = []
    messages = [f"message {number}" for number in range(500)]
    server = serve(collector(url, seen))
    with server.connect() as peer:
        if url == WEBSOCKET:
            open_websocket(peer)
        peer.send(wire(messages))
        wait_for(lambda: len(seen) == len(messages))
    assert seen == messages


class Adversary:
    """A protocol whose `decode` answers what its class says."""

    answer: Any = None

    def decode(self, buffer: memoryview) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(buffer) if callable(self.answer) else self.answer

    def encode(self, message: Any) -> bytes:
        return bytes(message)


ANSWERS = [
    pytest.param(lambda _b: -1, "protocol_error", id="C-2-negative"),
    pytest.param(lambda b: len(b), "protocol_error", id="C-2-length-that-is-there"),
    pytest.param(lambda _b: 0, "protocol_error", id="C-2-zero"),
    pytest.param(lambda _b: 1 << 40, "oversize", id="C-2-above-the-limit"),
    pytest.param(lambda _b: "five", "protocol_error", id="C-2-text"),
    pytest.param(lambda _b: 2.5, "protocol_error", id="C-2-float"),
    pytest.param(lambda _b: True, "protocol_error", id="C-2-bool"),
    pytest.param(lambda _b: ("m", 0), "protocol_error", id="C-2-consumes-nothing"),
    pytest.param(lambda _b: ("m", -3), "protocol_error", id="C-2-consumes-less"),
    pytest.param(lambda b: ("m", len(b) + 1), "protocol_error", id="C-2-consumes-more"),
    pytest.param(lambda _b: ("m", "1"), "protocol_error", id="C-2-consumes-text"),
    pytest.param(lambda _b: ("m",), "protocol_error", id="C-2-short-tuple"),
    pytest.param(ValueError("mine"), "protocol_error", id="C-2-raises"),
    pytest.param(RecursionError("deep"), "protocol_error", id="C-2-recursion"),
]


@pytest.mark.parametrize(("answer", "reason"), ANSWERS)
def test_protocol_that_answers_nonsense_closes_its_connection(
    serve: Serve, answer: Any, reason: str
) -> None:
    """C-2, core 22: no endless loop, no message, other connections untouched."""
    kind = type(
        "Kind", (Adversary,), {"answer": staticmethod(answer) if callable(answer) else answer}
    )
    worker = Worker(TCP, protocol=kind, max_message_bytes=1000)
    seen: list[object] = []
    worker.on_message = lambda _conn, message: seen.append(message)
    server = serve(worker)
    with server.connect():
        with server.connect() as peer:
            peer.send(b"abc")
            assert peer.gone()
        server.closed(reason)
        assert server.count() == 1
    assert seen == []


def test_protocol_that_waits_for_ever_is_bounded(serve: Serve) -> None:
    """C-2, core 22: wanting more and more ends at max_message_bytes."""
    kind = type("Kind", (Adversary,), {"answer": staticmethod(lambda _b: None)})
    server = serve(Worker(TCP, protocol=kind, max_message_bytes=100_000))
    with server.connect() as peer:
        for _ in range(20):
            peer.send(b"x" * 10_000)
        assert peer.gone()
    server.closed("oversize")


# -- faults of one connection


@pytest.mark.parametrize("loop_kind", ["uvloop"], indirect=True)
def test_ten_thousand_raising_messages_close_only_their_connections(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """C-1: same process, a bystander untouched, the log bounded."""
    worker = Worker(LINES)
    errors: list[Exception] = []
    worker.on_error = lambda _conn, error: errors.append(error)

    @worker.on_message
    def said(_conn: object, line: str) -> str:
        if line != "bystander":
            raise RuntimeError(line)
        return line

    server = serve(worker)
    with server.connect() as bystander:
        for number in range(10_000):
            with server.connect() as peer:
                peer.send(b"%d\n" % number)
                assert peer.gone()
        bystander.send(b"bystander\n")
        assert bystander.line() == b"bystander"
    assert server.stats.handler_errors == 10_000
    assert len(errors) == 10_000
    server.closed("handler_error", 10_000)
    # So many a minute in full, then a number.
    assert len(caplog.records) <= 100


def test_raising_http_handlers_answer_500(serve: Serve) -> None:
    """C-1: 500, close, and the next connection is served."""
    worker = Worker(HTTP)

    @worker.on_message
    async def said(_conn: object, message: Request) -> str:
        if message.path == "/raise":
            raise RuntimeError
        return "fine"

    server = serve(worker)
    for _ in range(200):
        with server.connect() as peer:
            peer.send(request("/raise") + request("/"))
            assert [answer.status for answer in peer.answers()] == [500]
    with server.connect() as peer:
        peer.send(request("/"))
        assert peer.answer().body == b"fine"


def test_peer_that_asks_and_never_reads_is_bounded_and_closed(serve: Serve) -> None:
    """C-3: above the mark its requests are not read any more; then the stall ends it."""
    worker = Worker(HTTP, max_send_buffer=128 * 1024, write_timeout=1.0)
    served: list[int] = []

    @worker.on_message
    def answer(_conn: object, _message: Request) -> bytes:
        served.append(1)
        return b"x" * 50_000

    server = serve(worker)
    with server.connect(receive_buffer=4096) as peer:
        peer.sock.setblocking(False)
        asked = 0
        queued = 0
        while not server.reasons:
            try:
                peer.sock.send(request() * 100)
                asked += 100
            except BlockingIOError:
                conn = server.call(lambda: next(iter(worker.connections.values()), None))
                queued = max(queued, server.call(lambda conn=conn: conn.send_queue) if conn else 0)
            except (BrokenPipeError, ConnectionResetError):
                break
            assert asked < 1_000_000
    server.closed("slow_reader")
    assert queued <= 128 * 1024 + 50_000 + 1000
    assert len(served) * 50_000 < 16 * MIB


def test_pipelining_peer_that_reads_late_gets_every_answer(serve: Serve) -> None:
    """C-3: above the mark it is not served further, so its answers never exceed the limit."""
    worker = Worker(HTTP, max_send_buffer=128 * 1024)
    served: list[str] = []

    @worker.on_message
    def answer(_conn: object, message: Request) -> str:
        served.append(message.path)
        return message.path + "x" * 50_000

    server = serve(worker)
    total = 400
    with server.connect(receive_buffer=4096) as peer:
        peer.send(b"".join(request(f"/{number:03d}") for number in range(total)))
        conn = only(server)
        wait_for(lambda: server.call(lambda: conn.send_queue) > 0)
        for number in range(total):
            assert peer.answer().body[:4] == b"/%03d" % number
    assert len(served) == total
    assert server.stats.send_failures == 0


def test_flooding_connection_leaves_the_others_their_turns(serve: Serve) -> None:
    """C-4: between two messages of a quiet peer a flood gets a share of each turn, no more.

    Counted in turns of the loop, not in time: no turn serves the flood more than its share.
    """
    worker = Worker(LINES)
    served: list[int] = []
    turn = [0]
    worker.on_message = lambda _conn, line: served.append(turn[0]) if line == "f" else line

    @worker.on_start
    def count_turns(_worker: Worker) -> None:
        loop = asyncio.get_running_loop()

        def tick() -> None:
            turn[0] += 1
            loop.call_soon(tick)

        loop.call_soon(tick)

    server = serve(worker)
    with server.connect() as flood, server.connect() as quiet:
        flood.send(b"f\n" * 200_000)
        for _ in range(5):
            quiet.send(b"q\n")
            assert quiet.line() == b"q"
        wait_for(lambda: len(served) == 200_000)
    counts: dict[int, int] = {}
    for number in served:
        counts[number] = counts.get(number, 0) + 1
    # One share for what was scheduled, one for what was read in the same turn.
    assert max(counts.values()) <= 2 * TURN_MESSAGES + 64
    assert len(counts) > 500


# -- leaks

PHASES = [
    pytest.param(LINES, b"", id="text-nothing"),
    pytest.param(LINES, b"half a line", id="text-half"),
    pytest.param(LINES, b"slow\n", id="text-handler-running"),
    pytest.param(LINES, b"flood\n", id="text-unread-answers"),
    pytest.param(FRAMES, b"\0\0", id="frame-half-header"),
    pytest.param(FRAMES, b"\0\0\0\x20abc", id="frame-half"),
    pytest.param(HTTP, b"", id="http-nothing"),
    pytest.param(HTTP, b"GET / HT", id="http-half-line"),
    pytest.param(HTTP, b"GET / HTTP/1.1\r\nHost: a\r\n", id="http-half-head"),
    pytest.param(HTTP, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
                 id="http-half-body"),
    pytest.param(HTTP, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na",
                 id="http-half-chunk"),
    pytest.param(HTTP, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", id="http-handler-running"),
    pytest.param(HTTP, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n", id="http-deferred"),
    pytest.param(HTTP, b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n", id="http-unread-answer"),
    pytest.param(HTTP, b"GET /bad\r\n\r\n", id="http-refused"),
    pytest.param(WEBSOCKET, b"GET / HTTP/1.1\r\nHost: a\r\nUpgr", id="websocket-half-handshake"),
    pytest.param(WEBSOCKET, None, id="websocket-open"),
    pytest.param(WEBSOCKET, frame(TEXT, b"half", last=False), id="websocket-half-message"),
    pytest.param(WEBSOCKET, frame(TEXT, b"slow"), id="websocket-handler-running"),
    pytest.param(WEBSOCKET, frame(TEXT, b"flood"), id="websocket-unread-answers"),
    pytest.param(WEBSOCKET, close(1000), id="websocket-closing"),
    pytest.param(WEBSOCKET, b"\xff\xff", id="websocket-refused"),
]  # fmt: skip


def busybody(url: str) -> Worker:
    """A Worker with a handler for each phase."""
    worker = Worker(url, cancel_on_close=True, max_send_buffer=None)

    @worker.on_message
    async def said(conn: Any, message: Any) -> Any:
        word = message.path[1:] if isinstance(message, Request) else str(message)
        if word == "slow":
            await asyncio.Event().wait()
        if word == "never":
            return None
        return "x" * 2_000_000 if word == "flood" else "ok"

    return worker


def abort_many(serve: Serve, url: str, data: bytes | None, times: int) -> None:
    server = serve(busybody(url))

    def one() -> None:
        peer = server.connect()
        if url == WEBSOCKET and (data is None or not data.startswith(b"GET")):
            open_websocket(peer)
        peer.send(data or b"")
        peer.reset()

    def quiet() -> bool:
        return server.count() == 0 and server.tasks() == 0

    for _ in range(20):
        one()
    wait_for(quiet)
    gc.collect()
    before = descriptors()
    for _ in range(times):
        one()
    wait_for(quiet, f"{server.count()} connections, {server.tasks()} tasks are left")
    gc.collect()
    assert descriptors() <= before
    assert server.call(lambda: len(server.serving.host.wheel)) == 0
    assert not server.call(lambda: server.serving.host.wheel.running)
    assert server.call(lambda: len(server.serving.host.tasks)) == 0
    assert server.stats.connections == 0
    assert sum(server.reasons.values()) == server.stats.accepted


@pytest.mark.parametrize(("url", "data"), PHASES)
def test_aborted_connections_leave_nothing(serve: Serve, url: str, data: bytes | None) -> None:
    """C-7: descriptors, tasks, deadlines; 2,200 connections over all phases, on each loop."""
    abort_many(serve, url, data, 100)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("url", "data"), PHASES)
def test_ten_thousand_aborted_connections_leave_nothing(
    serve: Serve, url: str, data: bytes | None
) -> None:
    """C-7, the long form: 11,000 over all phases."""
    abort_many(serve, url, data, 500)


# -- WebSocket under pressure


def test_ping_flood_without_reading_is_bounded(serve: Serve) -> None:
    """W-7: a million pings from a client that never reads end early, in bounded memory."""
    server = serve(Worker(WEBSOCKET, max_send_buffer=64 * 1024))
    before = resident()
    with server.connect(receive_buffer=4096) as peer:
        open_websocket(peer)
        flood = frame(PING, b"p" * 125) * 1000
        sent = 0
        peer.sock.settimeout(10)
        try:
            while sent < 1000:
                peer.sock.sendall(flood)
                sent += 1
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        assert sent < 1000
        wait_for(lambda: server.reasons)
    assert set(server.reasons) <= {"control_flood", "slow_reader", "close_timeout"}
    assert resident() - before < 16 * MIB


def test_pings_between_data_are_answered_with_the_latest_few(serve: Serve) -> None:
    """W-7: pings of one read are coalesced, and nothing grows with their number."""
    server = serve(Worker(WEBSOCKET))
    with server.connect() as peer:
        open_websocket(peer)
        peer.send(b"".join(frame(PING, b"%d" % number) for number in range(90)))
        answers = []
        while not answers or answers[-1] != b"89":
            opcode, payload = read_frame(peer)
            assert opcode == 10
            answers.append(payload)
        assert [int(payload) for payload in answers] == sorted(int(p) for p in answers)


def test_close_code_is_echoed_and_nothing_follows(serve: Serve) -> None:
    """W-10: echo once; what comes behind a close frame is delivered to nobody."""
    worker = Worker(WEBSOCKET)
    seen: list[object] = []
    codes: list[tuple[int, str]] = []
    worker.on_message = lambda _conn, message: seen.append(message)
    worker.on_websocket_close = lambda _conn, code, reason: codes.append((code, reason))
    server = serve(worker)
    with server.connect() as peer:
        open_websocket(peer).send(frame(TEXT, b"before"))
        peer.send(close(4321, b"done") + frame(TEXT, b"after") + close(1000))
        assert read_close(peer) == 4321
    wait_for(lambda: server.count() == 0)
    assert seen == ["before"]
    assert codes == [(4321, "done")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_close_codes_out_of_range_are_1002(serve: Serve, code: int) -> None:
    """W-10."""
    with serve(Worker(WEBSOCKET)).connect() as peer:
        open_websocket(peer).send(close(code))
        assert read_close(peer) == 1002


def test_peer_that_does_not_answer_a_close_is_aborted(serve: Serve) -> None:
    """W-10: the wait for its frame is bounded, and sent messages are refused meanwhile."""
    worker = Worker(WEBSOCKET, close_timeout=0.2)
    server = serve(worker)
    with server.connect() as peer:
        open_websocket(peer)
        conn = only(server)
        server.call(conn.close)
        assert server.call(conn.send, "late") is False
        assert read_frame(peer) == (CLOSE, b"\x03\xe8")
        assert peer.gone()
    wait_for(lambda: server.count() == 0)


def test_send_to_a_closed_websocket_answers_false(serve: Serve) -> None:
    """W-12: in its own handler, too, after the peer has gone; nothing is raised."""
    worker = Worker(WEBSOCKET)
    results: list[object] = []
    started: list[Any] = []

    @worker.on_message
    async def said(conn: Any, _message: str) -> None:
        started.append(conn)
        await conn.wait_closed()
        results.append(conn.send("too late"))
        await conn.drain()
        results.append(conn.ping())

    server = serve(worker)
    with server.connect() as peer:
        open_websocket(peer).send(frame(TEXT, b"hello"))
        wait_for(lambda: started)
    wait_for(lambda: len(results) == 2)
    assert results == [False, False]
    assert server.stats.handler_errors == 0


def test_broadcast_does_not_wait_for_one_slow_peer(serve: Serve) -> None:
    """W-13: 49 of 50 receive everything, the one that never reads is dropped, memory bounded."""
    worker = Worker(WEBSOCKET, max_send_buffer=128 * 1024)
    server = serve(worker)
    slow = open_websocket(server.connect(receive_buffer=4096))
    others = [open_websocket(server.connect()) for _ in range(49)]
    wait_for(lambda: server.count() == 50)
    rounds, block = 500, "b" * 1024
    counts = [0] * len(others)

    def read(index: int) -> None:
        for _ in range(rounds):
            opcode, payload = read_frame(others[index])
            assert (opcode, len(payload)) == (TEXT, 1024)
            counts[index] += 1

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(others))]
    for thread in threads:
        thread.start()
    queued = 0
    for number in range(rounds):
        # In step with the readers, so that the only slow peer is the one that never reads.
        wait_for(lambda number=number: min(counts) >= number - 60)
        server.call(worker.broadcast, block)
        if number % 50 == 0:
            queued = max(queued, server.call(
                lambda: max(conn.send_queue for conn in worker.connections.values())
            ))  # fmt: skip
    for thread in threads:
        thread.join(15)
    assert counts == [rounds] * len(others)
    assert queued <= 128 * 1024 + 2048
    for peer in (slow, *others):
        peer.sock.close()


# -- no state between connections


def test_interleaved_requests_of_two_users_never_mix(serve: Serve) -> None:
    """B-13: 1,000 requests on reused connections; each answer has its own marker only."""
    worker = Worker(HTTP)

    @worker.on_message
    async def answer(conn: Any, message: Request) -> str:
        user = message.headers["x-user"]
        known = getattr(conn.data, "user", user)
        conn.data.user = user
        if int(message.query["n"]) % 3 == 0:
            await asyncio.sleep(0)
        body = message.body.decode()
        return f"{known} {user} {message.query['n']} {body} {message.headers.get('cookie', '-')}"

    server = serve(worker)
    peers = {(user, index): server.connect() for user in ("anna", "bert") for index in range(2)}
    keys = list(peers)
    chance = random.Random(13)
    for number in range(1000):
        if number % 100 == 99:
            # A connection that is made anew must not inherit what the old one had.
            key = keys[number // 100 % len(keys)]
            peers[key].sock.close()
            peers[key] = server.connect()
        user, index = keys[chance.randrange(len(keys))]
        fields = [f"X-User: {user}"]
        cookie = "-"
        if number % 2:
            cookie = f"sid={user}{number}"
            fields.append(f"Cookie: {cookie}")
        body = f"{user}-{number}"
        peer = peers[user, index]
        # The same head may come again with another body: no cache may take it for the same.
        peer.send(request(f"/?n={number % 7}", "POST", *fields, body=body.encode()))
        expected = f"{user} {user} {number % 7} {body} {cookie}"
        assert peer.answer().body.decode() == expected
    for peer in peers.values():
        peer.sock.close()


def test_fragments_interleaved_with_controls_are_one_message(serve: Serve) -> None:
    """Core 31: control frames may stand between the fragments of a message."""
    worker = Worker(WEBSOCKET)
    worker.on_message = lambda _conn, message: message
    with serve(worker).connect() as peer:
        open_websocket(peer)
        peer.send(frame(BINARY, b"one ", last=False) + frame(PING, b"?"))
        peer.send(frame(CONTINUATION, b"two", last=True))
        # The pong leaves with what the same read brings about, before or behind the answer.
        assert {read_frame(peer), read_frame(peer)} == {(10, b"?"), (BINARY, b"one two")}


def test_log_lines_name_the_connection(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """C-1: the line of a failed handler says whose connection it was."""
    worker = Worker(LINES, name="lines")

    @worker.on_message
    def said(_conn: object, _line: str) -> None:
        raise RuntimeError("marker")

    server = serve(worker)
    with server.connect() as peer:
        port = peer.sock.getsockname()[1]
        peer.send(b"x\n")
        assert peer.gone()
    wait_for(lambda: caplog.records)
    record = caplog.records[0]
    assert re.search(rf"lines connection \d+ from 127\.0\.0\.1:{port}", record.getMessage())
    assert record.exc_info is not None
