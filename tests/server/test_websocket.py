"""WebSocket on a running server, with a foreign client and with frames made by hand.

Hardening W-1 to W-3, W-5, W-9, W-10; core 31 and 32.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from longline import Request, Response, Worker

from ..process.service import wait_for
from .frames import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    close,
    frame,
    header,
    open_websocket,
    read_close,
    read_frame,
)
from .live import Live, request

client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
exceptions = pytest.importorskip("websockets.exceptions", reason="websockets is not installed")

Serve = Callable[[Worker], Live]

URL = "websocket://127.0.0.1:0"
HTTP = "http://127.0.0.1:0"


def echo(url: str = URL, **options: Any) -> Worker:
    worker = Worker(url, **options)
    worker.on_websocket_message = lambda _conn, message: message
    return worker


def dial(server: Live, **options: Any) -> Any:
    """Connect the foreign client, which checks every frame of ours."""
    options.setdefault("compression", None)
    return client.connect(f"ws://127.0.0.1:{server.port}/path?x=1", open_timeout=10, **options)


# -- a foreign client


@pytest.mark.parametrize(
    "message",
    ["", "grüße", "x" * 125, "x" * 126, "y" * 65535, "y" * 65536, "z" * 2_000_000, b"", b"\0\xff",
     b"q" * 300_000],
    ids=["empty", "text", "125", "126", "65535", "65536", "2M", "no-bytes", "bytes", "300K"],
)  # fmt: skip
def test_foreign_client_gets_its_messages_back(serve: Serve, message: str | bytes) -> None:
    with dial(serve(echo()), max_size=None) as peer:
        peer.send(message)
        assert peer.recv(10) == message


def test_foreign_client_sends_fragments_and_pings(serve: Serve) -> None:
    with dial(serve(echo())) as peer:
        peer.send(["frag", "men", "ts"])
        assert peer.recv(10) == "fragments"
        assert peer.ping().wait(10)


def test_foreign_client_offers_compression_and_lives_without(serve: Serve) -> None:
    """W-8, W-4: off by default; nothing was negotiated, so no frame is compressed."""
    with dial(serve(echo()), compression="deflate") as peer:
        assert peer.protocol.extensions == []
        peer.send("plain")
        assert peer.recv(10) == "plain"


def test_foreign_client_sees_our_close_code_and_reason(serve: Serve) -> None:
    """W-10."""
    worker = Worker(URL)
    worker.on_message = lambda conn, _message: conn.close("last", code=4001, reason="enough")
    with dial(serve(worker)) as peer:
        peer.send("go")
        assert peer.recv(10) == "last"
        with pytest.raises(exceptions.ConnectionClosedError) as caught:
            peer.recv(10)
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "enough")


def test_our_side_sees_the_close_of_a_foreign_client(serve: Serve) -> None:
    """W-10, core 19: code and reason, then on_close, once each."""
    worker = Worker(URL)
    events: list[object] = []
    worker.on_websocket_close = lambda _conn, code, reason: events.append((code, reason))
    worker.on_close = lambda _conn: events.append("closed")
    with dial(serve(worker)) as peer:
        peer.close(4002, "bye")
    wait_for(lambda: len(events) == 2)
    assert events == [(4002, "bye"), "closed"]


def test_peer_that_vanishes_is_1006(serve: Serve) -> None:
    worker = Worker(URL)
    events: list[object] = []
    worker.on_websocket_close = lambda _conn, code, reason: events.append((code, reason))
    server = serve(worker)
    open_websocket(server.connect()).reset()
    wait_for(lambda: events)
    assert events == [(1006, "")]


# -- the handshake

BAD_HANDSHAKES = [
    pytest.param("POST", {}, 405, id="W-1-method"),
    pytest.param("GET", {"Upgrade": None}, 426, id="W-1-no-upgrade"),
    pytest.param("GET", {"Upgrade": "h2c"}, 400, id="W-1-other-upgrade"),
    pytest.param("GET", {"Sec-WebSocket-Version": None}, 426, id="W-1-no-version"),
    pytest.param("GET", {"Sec-WebSocket-Version": "8"}, 426, id="W-1-version-8"),
    pytest.param("GET", {"Sec-WebSocket-Version": "13\r\nSec-WebSocket-Version: 13"}, 400,
                 id="W-1-two-versions"),
    pytest.param("GET", {"Sec-WebSocket-Key": None}, 400, id="W-1-no-key"),
    pytest.param("GET", {"Sec-WebSocket-Key": "c2hvcnQ="}, 400, id="W-1-short-key"),
    pytest.param("GET", {"Sec-WebSocket-Key": "!" * 24}, 400, id="W-1-key-no-base64"),
    pytest.param("GET", {"Sec-WebSocket-Key": "\xe9" * 24}, 400, id="W-1-key-latin-1"),
    pytest.param("GET", {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, 400, id="W-1-two-keys"),
    pytest.param("GET", {"Sec-WebSocket-Protocol": "a,,b"}, 400, id="W-1-protocol-empty"),
    pytest.param("GET", {"Sec-WebSocket-Protocol": "a b"}, 400, id="W-1-protocol-space"),
    pytest.param("GET", {"Sec-WebSocket-Protocol": "caf\xe9"}, 400, id="W-1-protocol-latin-1"),
    pytest.param("GET", {"Sec-WebSocket-Extensions": "a;=b"}, 400, id="W-1-extension-parameter"),
    pytest.param("GET", {"Sec-WebSocket-Extensions": "\xff"}, 400, id="W-1-extension-latin-1"),
    pytest.param("GET", {"Origin": "http://a\r\nOrigin: http://b"}, 400, id="W-1-two-origins"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "changes", "status"), BAD_HANDSHAKES)
def test_bad_handshake_is_refused_and_closed(
    serve: Serve, method: str, changes: dict[str, str | None], status: int
) -> None:
    """W-1: a status, the close, no handler, no error of ours."""
    fields: dict[str, str | None] = {**dict(line.split(": ", 1) for line in UPGRADE), **changes}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    worker = echo()
    called: list[object] = []
    worker.on_websocket_connect = lambda _conn, _request: called.append(1)
    worker.on_connect = lambda _conn: called.append(2)
    worker.on_close = lambda _conn: called.append(3)
    server = serve(worker)
    with server.connect() as peer:
        peer.send(request("/", method, *lines))
        (answer,) = peer.answers()
    assert answer.status == status
    assert "close" in answer.headers["connection"].lower()
    if status == 426:
        assert answer.headers["sec-websocket-version"] == "13"
        assert answer.headers["upgrade"] == "websocket"
    server.closed("handshake")
    assert called == []
    assert server.stats.handler_errors == 0


HOST = "good.example:8080"
ORIGINS = [
    pytest.param("http://good.example:8080", None, True, id="W-2-same"),
    pytest.param("HTTP://Good.Example:8080", None, True, id="W-2-upper-case"),
    pytest.param(None, None, True, id="W-2-absent"),
    pytest.param("null", None, False, id="W-2-null"),
    pytest.param("", None, False, id="W-2-empty"),
    pytest.param("http://good.example", None, False, id="W-2-other-port"),
    pytest.param("http://good.example:80", None, False, id="W-2-port-80"),
    pytest.param("https://good.example:8080", None, False, id="W-2-other-scheme"),
    pytest.param("http://good.example.evil.test:8080", None, False, id="W-2-suffix"),
    pytest.param("http://evilgood.example:8080", None, False, id="W-2-prefix"),
    pytest.param("http://evil.test#good.example:8080", None, False, id="W-2-fragment"),
    pytest.param("http://good.example:8080@evil.test", None, False, id="W-2-user-info"),
    pytest.param("http://good.example:8080/", None, False, id="W-2-path"),
    pytest.param("good.example:8080", None, False, id="W-2-no-scheme"),
    pytest.param("http://a.test", ("http://a.test",), True, id="W-2-listed"),
    pytest.param("http://a.test:80", ("http://a.test",), True, id="W-2-default-port"),
    pytest.param("http://b.test", ("http://a.test",), False, id="W-2-not-listed"),
    pytest.param("http://a.test.evil.test", ("http://a.test",), False, id="W-2-listed-suffix"),
    pytest.param("null", ("http://a.test",), False, id="W-2-null-not-listed"),
    pytest.param("null", ("null",), True, id="W-2-null-listed"),
    pytest.param("http://any.test", ("*",), True, id="W-2-star"),
]


@pytest.mark.parametrize(("origin", "allowed", "good"), ORIGINS)
def test_origin_is_checked_before_user_code(
    serve: Serve, origin: str | None, allowed: tuple[str, ...] | None, good: bool
) -> None:
    """W-2: mismatch is 403 before any handler."""
    worker = echo(origins=allowed)
    called: list[object] = []
    worker.on_websocket_connect = lambda _conn, _request: called.append(1)
    server = serve(worker)
    fields = [f"Origin: {origin}"] if origin is not None else []
    data = request("/", "GET", *UPGRADE, *fields).replace(b"Host: test", b"Host: " + HOST.encode())
    with server.connect() as peer:
        peer.send(data)
        if good:
            assert peer.answer().status == 101
        else:
            assert [answer.status for answer in peer.answers()] == [403]
    assert called == ([1] if good else [])


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize(
    ("how", "status"),
    [("response", 401), ("close", 403), ("raise", 500)],
)
def test_handler_refuses_the_handshake(
    serve: Serve, how: str, status: int, asynchronous: bool
) -> None:
    """Core 32: by a Response, by closing, by raising; frames behind it reach nobody."""
    worker = echo()
    closed: list[object] = []
    worker.on_close = closed.append
    worker.on_connect = closed.append

    def decide(conn: Any, message: Request) -> Response | None:
        assert message.path == "/"
        conn.send("never arrives")
        if how == "response":
            return Response("no", status=401, headers={"WWW-Authenticate": "Basic"})
        if how == "close":
            conn.close()
            return None
        raise RuntimeError("refused")

    async def decide_later(conn: Any, message: Request) -> Response | None:
        await asyncio.sleep(0)
        return decide(conn, message)

    worker.on_websocket_connect = decide_later if asynchronous else decide
    server = serve(worker)
    with server.connect() as peer:
        peer.send(request("/", "GET", *UPGRADE) + frame(TEXT, b"early"))
        (answer,) = peer.answers()
    assert answer.status == status
    if how == "response":
        assert (answer.body, answer.headers["www-authenticate"]) == (b"no", "Basic")
    wait_for(lambda: server.count() == 0)
    assert closed == []


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
def test_messages_sent_before_the_101_arrive_behind_it(serve: Serve, asynchronous: bool) -> None:
    """Core 32; frames that come with the handshake are kept for later."""
    worker = echo()

    def welcome(conn: Any, _request: Request) -> None:
        assert conn.send("first") is True
        conn.subprotocol = "chat"
        conn.extra_headers.append(("X-Extra", "yes"))

    async def welcome_later(conn: Any, message: Request) -> None:
        welcome(conn, message)
        await asyncio.sleep(0.01)
        conn.send("second")

    worker.on_websocket_connect = welcome_later if asynchronous else welcome
    worker.on_websocket_connected = lambda conn, _request: conn.send("connected")
    server = serve(worker)
    with server.connect() as peer:
        peer.send(request("/", "GET", *UPGRADE, "Sec-WebSocket-Protocol: chat, other"))
        peer.send(frame(TEXT, b"early"))
        answer = peer.answer()
        assert answer.status == 101
        assert answer.headers["sec-websocket-protocol"] == "chat"
        assert answer.headers["x-extra"] == "yes"
        expected = [b"first", *([b"second"] if asynchronous else []), b"connected", b"early"]
        assert [read_frame(peer)[1] for _ in expected] == expected


def test_http_and_websocket_share_a_port_and_a_connection(serve: Serve) -> None:
    """design.md section 6: requests first, then the upgrade on the same connection."""
    worker = echo(HTTP)
    worker.on_message = lambda _conn, message: f"page {message.path}"
    server = serve(worker)
    with server.connect() as peer:
        peer.send(request("/a") + request("/b") + request("/ws", "GET", *UPGRADE))
        assert [peer.answer().body, peer.answer().body] == [b"page /a", b"page /b"]
        assert peer.answer().status == 101
        peer.send(frame(TEXT, b"hello"))
        assert read_frame(peer) == (TEXT, b"hello")
    with dial(server) as peer:
        peer.send("foreign")
        assert peer.recv(10) == "foreign"
    with server.connect() as peer:
        peer.send(request("/c"))
        assert peer.answer().body == b"page /c"


def test_websocket_worker_answers_a_plain_request_with_426(serve: Serve) -> None:
    worker = echo()
    with serve(worker).connect() as peer:
        peer.send(request("/"))
        assert [answer.status for answer in peer.answers()] == [426]


# -- frames that are refused

BAD_FRAMES = [
    pytest.param(frame(TEXT, b"a", masked=False), 1002, id="W-3-unmasked"),
    pytest.param(bytes([0xC1, 0x80]) + b"mask", 1002, id="W-4-rsv1"),
    pytest.param(bytes([0xA1, 0x80]) + b"mask", 1002, id="W-3-rsv2"),
    pytest.param(bytes([0x91, 0x80]) + b"mask", 1002, id="W-3-rsv3"),
    *[pytest.param(frame(opcode), 1002, id=f"W-3-opcode-{opcode}") for opcode in (3, 7, 11, 15)],
    pytest.param(frame(PING, last=False), 1002, id="W-3-fragmented-ping"),
    pytest.param(header(PING, 126), 1002, id="W-3-long-ping"),
    pytest.param(header(8, 126), 1002, id="W-3-long-close"),
    pytest.param(frame(8, b"\x03"), 1002, id="W-3-close-of-one-byte"),
    pytest.param(frame(CONTINUATION, b"a"), 1002, id="W-3-continuation-of-nothing"),
    pytest.param(frame(TEXT, b"a", last=False) + frame(TEXT, b"b"), 1002, id="W-3-text-in-text"),
    pytest.param(b"\x82\xfe\x00\x05mask12345", 1002, id="W-3-length-not-minimal-16"),
    pytest.param(b"\x82\xff" + (300).to_bytes(8, "big") + b"mask", 1002, id="W-3-not-minimal-64"),
    pytest.param(b"\x82\xff" + (1 << 63).to_bytes(8, "big") + b"mask", 1002, id="W-3-above-2-63"),
    pytest.param(header(BINARY, 1 << 40), 1009, id="W-5-announces-2-40"),
    pytest.param(frame(TEXT, b"\xff"), 1007, id="W-9-utf8"),
    pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="W-9-surrogate"),
    pytest.param(frame(TEXT, b"\xce", last=False) + frame(CONTINUATION, b"a", last=False), 1007,
                 id="W-9-across-fragments"),
    pytest.param(header(TEXT, 1000, last=False)[:-4] + b"\0\0\0\0" + b"ok\xff" + b"x" * 997, 1007,
                 id="W-9-fails-inside-an-unfinished-message"),
    pytest.param(close(1000, b"\xff"), 1007, id="W-9-close-reason"),
    pytest.param(frame(TEXT, last=False) + frame(CONTINUATION, last=False) * 20, 1008,
                 id="W-6-empty-fragments"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code"), BAD_FRAMES)
def test_bad_frames_close_with_their_code(serve: Serve, data: bytes, code: int) -> None:
    """W-3, W-5, W-9: the code, the end, and the message is delivered to nobody."""
    worker = Worker(URL)
    seen: list[object] = []
    worker.on_message = lambda _conn, message: seen.append(message)
    server = serve(worker)
    with server.connect() as peer:
        open_websocket(peer).send(data)
        peer.send(frame(TEXT, b"behind"))
        assert read_close(peer) == code
    wait_for(lambda: server.count() == 0)
    assert seen == []
    assert sum(server.reasons.values()) == 1
    assert server.stats.handler_errors == 0


def test_messages_before_a_bad_frame_are_delivered(serve: Serve) -> None:
    worker = Worker(URL)
    seen: list[object] = []
    worker.on_message = lambda _conn, message: seen.append(message)
    with serve(worker).connect() as peer:
        open_websocket(peer).send(frame(TEXT, b"good") + frame(3))
        assert read_close(peer) == 1002
    assert seen == ["good"]


def test_announced_size_is_refused_before_its_bytes(serve: Serve) -> None:
    """W-5: from the header, whatever the limit."""
    server = serve(Worker(URL, max_message_bytes=1000))
    with server.connect() as peer:
        open_websocket(peer).send(header(BINARY, 1001))
        assert read_close(peer) == 1009
    server.closed("oversize")


def test_a_compressed_bomb_is_a_protocol_error(serve: Serve) -> None:
    """W-5, W-4: without a negotiated extension nothing is ever inflated."""
    bomb = zlib.compress(b"\0" * 64 * 1024 * 1024)
    data = bytearray(frame(BINARY, bomb))
    data[0] |= 0x40
    with serve(Worker(URL)).connect() as peer:
        open_websocket(peer).send(bytes(data))
        assert read_close(peer) == 1002


def test_half_a_million_fragments_of_a_byte_are_one_message(serve: Serve) -> None:
    """W-6: memory goes with bytes, not with fragments (20,000 here)."""
    worker = Worker(URL)
    worker.on_message = lambda _conn, message: str(len(message))
    with serve(worker).connect() as peer:
        open_websocket(peer).send(frame(TEXT, b"a", last=False))
        peer.send(frame(CONTINUATION, b"b", last=False) * 19_998)
        peer.send(frame(CONTINUATION, b"c"))
        assert read_frame(peer) == (TEXT, b"20000")


# -- leaving


@pytest.mark.parametrize(("reason", "code"), [("reload", 1012), ("stop", 1001)])
def test_leaving_tells_its_code(serve: Serve, reason: str, code: int) -> None:
    """P-14, W-10: restart hint 1012, local shutdown 1001; an idle socket and a busy one."""
    worker = Worker(URL, stop_timeout=0.5)
    release: list[Any] = []

    @worker.on_message
    async def work(_conn: object, message: str) -> str:
        gate = asyncio.Event()
        release.append(gate)
        await gate.wait()
        return message

    server = serve(worker)
    idle, busy = open_websocket(server.connect()), open_websocket(server.connect())
    busy.send(frame(TEXT, b"work"))
    wait_for(lambda: release)
    leaving = server.serving.leave(reason, grace=0.0, spread=0.0)
    asyncio.run_coroutine_threadsafe(leaving, server.loop).result(10)
    for peer in (idle, busy):
        assert read_close(peer) == code
        peer.sock.close()
    server.call(release[0].set)
    wait_for(lambda: server.count() == 0)


def test_new_connections_are_not_taken_while_leaving(serve: Serve) -> None:
    server = serve(Worker(URL, stop_timeout=0.5))
    port = server.port
    leaving = server.serving.leave("stop", grace=0.0, spread=0.0)
    asyncio.run_coroutine_threadsafe(leaving, server.loop).result(10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.fixture
def talking(serve: Serve) -> Iterator[Any]:
    with dial(serve(echo())) as peer:
        yield peer


def test_unasked_pong_is_harmless(talking: Any) -> None:
    """RFC 6455 section 5.5.3."""
    talking.pong(b"unasked")
    talking.send("still here")
    assert talking.recv(10) == "still here"


def test_control_frames_of_125_bytes_pass(serve: Serve) -> None:
    with serve(echo()).connect() as peer:
        open_websocket(peer).send(frame(PING, b"p" * 125))
        assert read_frame(peer) == (PONG, b"p" * 125)
