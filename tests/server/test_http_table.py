"""Hardening section 2 against a running server: bytes in, answers out, connection closed."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longline import Request, Response, Worker

from ..corpus import Vector, http_vectors
from ..process.service import wait_for
from .live import Live, Peer, request

Serve = Callable[[Worker], Live]

INVALID = http_vectors("invalid")
VALID = http_vectors("valid")
ROWS = {f"h{number:02d}" for number in range(1, 16)}
ROOT = Path(__file__).parents[2]


def echo(seen: list[Request], **limits: Any) -> Worker:
    """A Worker that remembers what reached its handler."""
    worker = Worker("http://127.0.0.1:0", **limits)

    @worker.on_message
    def answer(_conn: object, message: Request) -> str:
        seen.append(message)
        return "served"

    return worker


def test_every_row_has_a_vector() -> None:
    """H-1 to H-15: a row of the list without bytes of its own would be tested by nobody."""
    assert {vector.name[:3] for vector in INVALID} >= ROWS


@pytest.mark.parametrize("vector", INVALID, ids=lambda vector: vector.name)
def test_refused_bytes_close_the_connection(serve: Serve, vector: Vector) -> None:
    """H-1 to H-16, L-1, L-3: status, close, and the handler is not called.

    Bytes behind the offence are never parsed: a whole request follows each of them. H-22: the
    refusal says nothing of the request and carries `Connection: close`.
    """
    seen: list[Request] = []
    server = serve(echo(seen, **vector.limits))
    expected = [200] * vector.requests + ([] if vector.eof else [vector.status])
    with server.connect() as peer:
        peer.send(vector.data)
        if vector.eof:
            peer.end()
        else:
            peer.send(request("/smuggled"))
        answers = list(peer.answers())
    assert [answer.status for answer in answers] == expected
    assert len(seen) == vector.requests
    assert "/smuggled" not in [message.path for message in seen]
    if not vector.eof:
        last = answers[-1]
        assert last.headers["connection"] == "close"
        assert re.fullmatch(rb"%d [A-Za-z -]+\n" % vector.status, last.body)
        assert set(last.headers) <= {
            "connection", "content-type", "content-length", "server", "date", "allow",
        }  # fmt: skip
    (reason,) = wait_for(lambda: server.reasons)
    assert reason in ("protocol_error", "oversize", "incomplete")
    assert server.reasons[reason] == 1


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector.name)
def test_valid_bytes_are_served(serve: Serve, vector: Vector) -> None:
    seen: list[Request] = []
    server = serve(echo(seen, **vector.limits))
    with server.connect() as peer:
        peer.send(vector.data)
        peer.end()
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", peer.read_all())
    assert [status for status in statuses if status != b"100"] == [b"200"] * len(vector.requests)
    assert len(seen) == len(vector.requests)


def test_upgrade_with_a_body_never_reaches_a_handler(serve: Serve) -> None:
    """H-16: the request inside the body of an upgrade is nobody's."""
    seen: list[Any] = []
    worker = echo(seen)
    worker.on_websocket_message = lambda _conn, message: seen.append(message)
    server = serve(worker)
    inner = request("/inner")
    with server.connect() as peer:
        fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
        peer.send(request("/", "GET", *fields, body=inner))
        assert [answer.status for answer in peer.answers()] == [400]
    assert seen == []


def test_bytes_behind_an_accepted_upgrade_are_frames(serve: Serve) -> None:
    """H-16: they go to the WebSocket parser, whatever they look like."""
    seen: list[Any] = []
    worker = echo(seen)
    worker.on_websocket_message = lambda _conn, message: seen.append(message)
    server = serve(worker)
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    with server.connect() as peer:
        peer.send(request("/", "GET", *fields) + request("/inner"))
        assert peer.answer().status == 101
        # "GE" is a frame with reserved bits: close code 1002, and nothing of HTTP.
        close = peer.read_all()
    assert (close[0], close[2:4]) == (0x88, b"\x03\xea")
    assert b"HTTP" not in close
    assert seen == []


def test_bytes_behind_a_refused_upgrade_are_dropped(serve: Serve) -> None:
    """H-16: a rejected upgrade ends the connection, with all that follows it."""
    seen: list[Any] = []
    worker = echo(seen)
    worker.on_websocket_message = lambda _conn, message: seen.append(message)
    server = serve(worker)
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8",
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    with server.connect() as peer:
        peer.send(request("/", "GET", *fields) + request("/inner"))
        assert [answer.status for answer in peer.answers()] == [426]
    assert seen == []


def test_50_pipelined_requests_are_answered_in_order_slow_first(serve: Serve) -> None:
    """H-17: no handler starts before the answer in front of it is complete."""
    worker = Worker("http://127.0.0.1:0")
    running: list[str] = []
    overlaps: list[str] = []

    @worker.on_message
    async def answer(_conn: object, message: Request) -> str:
        overlaps.extend(running)
        running.append(message.path)
        if message.path in ("/0", "/7"):
            await asyncio.sleep(0.05)
        running.remove(message.path)
        return message.path

    server = serve(worker)
    with server.connect() as peer:
        peer.send(b"".join(request(f"/{number}") for number in range(50)))
        answers = [peer.answer() for _ in range(50)]
    assert [answer.body for answer in answers] == [b"/%d" % number for number in range(50)]
    assert overlaps == []


def test_deferred_answers_stay_in_order(serve: Serve) -> None:
    """H-17: a plain handler that answers later holds the next request back."""
    worker = Worker("http://127.0.0.1:0")
    calls: list[str] = []

    @worker.on_message
    def answer(conn: Any, message: Request) -> None:
        calls.append(message.path)
        delay = 0.05 if message.path == "/0" else 0.0
        asyncio.get_running_loop().call_later(delay, conn.send, message.path)

    server = serve(worker)
    with server.connect() as peer:
        peer.send(request("/0") + request("/1"))
        assert [peer.answer().body, peer.answer().body] == [b"/0", b"/1"]
    assert calls == ["/0", "/1"]


@pytest.mark.parametrize(
    ("wire", "field", "found"),
    [
        pytest.param("X_Forwarded_For: evil", "x-forwarded-for", None, id="H-24-underscore"),
        pytest.param("x-fOrWaRdEd-FoR: a", "X-Forwarded-For", "a", id="H-24-case"),
        pytest.param("X-Forwarded-For: a", "x_forwarded_for", None, id="H-24-dash"),
    ],
)
def test_names_compare_without_case_and_underscores_are_their_own(
    serve: Serve, wire: str, field: str, found: str | None
) -> None:
    """H-24."""
    seen: list[Request] = []
    with serve(echo(seen)).connect() as peer:
        peer.send(request("/", "GET", wire))
        assert peer.answer().status == 200
    assert seen[0].headers.get(field) == found


def test_error_answers_say_nothing_of_the_request_or_the_error(serve: Serve) -> None:
    """H-22, O-5: a handler that raises is a 500 without a word of why."""
    worker = Worker("http://127.0.0.1:0")

    @worker.on_message
    def answer(_conn: object, message: Request) -> Response:
        raise RuntimeError(f"secret {message.path}")

    with serve(worker).connect() as peer:
        peer.send(request("/marker"))
        (answer_,) = peer.answers()
    assert answer_.status == 500
    assert answer_.headers["connection"] == "close"
    assert answer_.body == b"500 Internal Server Error\n"


SECOND = [
    pytest.param(b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414,
                 {"max_request_line": 100}, id="L-3-max_request_line"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 500 + b"\r\n\r\n", 431,
                 {"max_head_bytes": 300}, id="L-3-max_head_bytes"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n", 431,
                 {"max_headers": 3}, id="L-3-max_headers"),
    pytest.param(request("/", "POST", body=b"x" * 20), 413,
                 {"max_body_bytes": 10}, id="L-3-max_body_bytes"),
    pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 b"6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n", 413,
                 {"max_body_bytes": 10}, id="L-3-max_body_bytes-chunked"),
]  # fmt: skip


@pytest.mark.parametrize(("second", "status", "limits"), SECOND)
@pytest.mark.parametrize("pipelined", [True, False], ids=["pipelined", "later"])
def test_limits_hold_for_the_second_request(
    serve: Serve, second: bytes, status: int, limits: dict[str, int], pipelined: bool
) -> None:
    """L-3: the first request of the connection was a good one."""
    seen: list[Request] = []
    server = serve(echo(seen, **limits))
    with server.connect() as peer:
        if pipelined:
            peer.send(request() + second)
            assert peer.answer().status == 200
        else:
            peer.send(request())
            assert peer.answer().status == 200
            peer.send(second)
        assert [answer.status for answer in peer.answers()] == [status]
    assert len(seen) == 1


def test_limits_of_forms_hold_for_the_second_request(serve: Serve) -> None:
    """L-3, max_fields."""
    worker = Worker("http://127.0.0.1:0", max_fields=2)
    worker.on_message = lambda _conn, message: str(len(message.query))
    with serve(worker).connect() as peer:
        peer.send(request("/?a=1&b=2") + request("/?a=1&b=2&c=3"))
        assert peer.answer().body == b"2"
        assert [answer.status for answer in peer.answers()] == [400]


def test_a_byte_at_a_time_is_the_same_request(serve: Serve) -> None:
    """H-18: any split of the stream is served alike."""
    seen: list[Request] = []
    with serve(echo(seen)).connect() as peer:
        for byte in request("/split", "POST", body=b"body"):
            peer.send(bytes([byte]))
        assert peer.answer().status == 200
    assert (seen[0].path, seen[0].body) == ("/split", b"body")


VECTOR_TESTS = ("tests/unit/protocols/http/test_vectors.py", "tests/unit/protocols/websocket")


@pytest.mark.timeout(180)
def test_vectors_pass_without_assertions() -> None:
    """H-21: under `python -O` nothing that protects may be gone."""
    done = subprocess.run(
        [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "-W", "ignore::pytest.PytestConfigWarning", *VECTOR_TESTS],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert re.search(r"\d{3,} passed", done.stdout), done.stdout[-500:]


def test_peer_reads_what_a_reader_must() -> None:
    """The reader of this package notices a broken answer."""
    left, right = socket.socketpair()
    with Peer(right) as peer, left:
        left.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        left.shutdown(socket.SHUT_WR)
        right.settimeout(5)
        with pytest.raises(AssertionError, match="broken answer"):
            list(peer.answers())
