"""WebSocket connections: handshake, messages, close, heartbeat, floods."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any

import pytest

from longline.protocols.http import Response

from .connection_lab import Lab, Peer, on_loop
from .test_connection_http import answer, get

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def frame(first: int, payload: bytes) -> bytes:
    assert len(payload) < 65536
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else (
        b"\xfe" + struct.pack("!H", len(payload)))  # fmt: skip
    return bytes([first]) + size + bytes(4) + payload


async def take(peer: Peer) -> tuple[int, bytes]:
    first, size = await peer.exactly(2)
    if size == 126:
        (size,) = struct.unpack("!H", await peer.exactly(2))
    return first, await peer.exactly(size)


async def open_websocket(lab: Lab, scheme: str = "websocket", **options: Any) -> Peer:
    if scheme == "http":
        options["websocket_enabled"] = True
    peer = await lab.connect(scheme, **options)
    await peer.send(get("/chat", *UPGRADE))
    status, fields, _ = await answer(peer)
    assert (status, fields["sec-websocket-accept"]) == (101, ACCEPT)
    return peer


def closing(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


@on_loop
async def test_messages_go_to_on_message_of_a_websocket_worker(lab: Lab) -> None:
    peer = await open_websocket(lab, on_message=lambda c, m: m)
    await peer.send(frame(TEXT, b"hello") + frame(BINARY, b"\x00\x01"))
    assert await take(peer) == (TEXT, b"hello")
    assert await take(peer) == (BINARY, b"\x00\x01")


@on_loop
async def test_http_worker_serves_both_on_one_port(lab: Lab) -> None:
    events: list[str] = []
    peer = await lab.connect(
        "http",
        websocket_enabled=True,
        on_connect=lambda c: events.append(f"connect {c.id}"),
        on_message=lambda c, r: f"page {r.path}",
        on_websocket_message=lambda c, m: m.upper(),
        on_websocket_close=lambda c, code, reason: events.append(f"bye {code}"),
        on_close=lambda c: events.append(f"close {c.id}"),
    )
    await peer.send(get("/a"))
    assert (await answer(peer))[2] == b"page /a"
    await peer.send(get("/chat", *UPGRADE) + frame(TEXT, b"at once"))
    assert (await answer(peer))[0] == 101
    assert await take(peer) == (TEXT, b"AT ONCE")
    assert peer.conn.request.path == "/chat"
    assert peer.conn.id == peer.first.id
    peer.close()
    await peer.gone()
    number = peer.first.id
    assert events == [f"connect {number}", "bye 1006", f"close {number}"]
    assert peer.host.stats.connections == 0


@on_loop
async def test_websocket_worker_connects_after_the_101_in_order(lab: Lab) -> None:
    events: list[str] = []

    async def connected(conn: Any, request: Any) -> None:
        await asyncio.sleep(0.001)
        events.append(f"connected {request.path}")

    peer = await lab.connect(
        "websocket",
        on_websocket_connected=connected,
        on_connect=lambda c: events.append("connect"),
        on_message=lambda c, m: events.append(m),
    )
    assert events == []
    await peer.send(get("/x", *UPGRADE) + frame(TEXT, b"first"))
    await lab.until(lambda: len(events) == 3)
    assert events == ["connected /x", "connect", "first"]


@on_loop
async def test_websocket_worker_answers_plain_requests_426(lab: Lab) -> None:
    closed: list[Any] = []
    peer = await lab.connect("websocket", on_close=closed.append)
    await peer.send(get())
    status, fields, _ = await answer(peer)
    assert (status, fields["upgrade"], fields["sec-websocket-version"]) == (426, "websocket", "13")
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert closed == []


@pytest.mark.parametrize("asynchronous", [False, True])
@on_loop
async def test_sends_before_the_101_follow_it(lab: Lab, asynchronous: bool) -> None:
    def greet(conn: Any, request: Any) -> Any:
        conn.send("early")
        conn.extra_headers.append(("X-Extra", "yes"))
        conn.data.name = "ann"

        async def later() -> None:
            await asyncio.sleep(0.001)
            await conn.drain()
            conn.send("later")

        return later() if asynchronous else None

    peer = await lab.connect(
        "websocket", on_websocket_connect=greet, on_message=lambda c, m: c.data.name
    )
    await peer.send(get("/", *UPGRADE) + frame(TEXT, b"?"))
    status, fields, _ = await answer(peer)
    assert (status, fields["x-extra"]) == (101, "yes")
    assert await take(peer) == (TEXT, b"early")
    if asynchronous:
        assert await take(peer) == (TEXT, b"later")
    assert await take(peer) == (TEXT, b"ann")


@on_loop
async def test_chosen_subprotocol_is_in_the_101(lab: Lab) -> None:
    def choose(conn: Any, request: Any) -> None:
        conn.subprotocol = "chat"

    peer = await lab.connect("websocket", on_websocket_connect=choose)
    await peer.send(get("/", *UPGRADE, "Sec-WebSocket-Protocol: soap, chat"))
    assert (await answer(peer))[1]["sec-websocket-protocol"] == "chat"


@pytest.mark.parametrize("way", ["response", "close", "abort", "raise", "type", "late response"])
@on_loop
async def test_on_websocket_connect_may_refuse(lab: Lab, way: str) -> None:
    told: list[Any] = []

    def refuse(conn: Any, request: Any) -> Any:
        conn.send("never seen")
        if way == "response":
            return Response("no entry", 401)
        if way in ("close", "abort"):
            return getattr(conn, way)()
        if way == "raise":
            raise ValueError("boom")
        if way == "type":
            return object()

        async def later() -> Response:
            await asyncio.sleep(0.001)
            return Response("no entry", 401)

        return later()

    peer = await lab.connect(
        "websocket", on_websocket_connect=refuse, on_connect=told.append, on_close=told.append
    )
    await peer.send(get("/", *UPGRADE) + get("/smuggled"))
    wanted = {"close": 403, "abort": 403, "raise": 500, "type": 500}.get(way, 401)
    assert (await answer(peer))[0] == wanted
    assert await peer.rest() == b""
    assert told == []


@on_loop
async def test_w2_foreign_origin_is_refused_before_user_code(lab: Lab) -> None:
    asked: list[Any] = []
    peer = await lab.connect("websocket", on_websocket_connect=lambda c, r: asked.append(r))
    await peer.send(get("/", *UPGRADE, "Origin: http://evil.test"))
    assert (await answer(peer))[0] == 403
    assert asked == []
    allowed = await lab.connect("websocket", origins=("http://good.test",))
    await allowed.send(get("/", *UPGRADE, "Origin: http://good.test"))
    assert (await answer(allowed))[0] == 101


@on_loop
async def test_client_that_leaves_during_the_handshake_is_forgotten(lab: Lab) -> None:
    go = asyncio.Event()
    sockets: list[Any] = []

    async def ask(conn: Any, request: Any) -> None:
        sockets.append(conn)
        await go.wait()

    peer = await lab.connect("websocket", tcp=True, on_websocket_connect=ask)
    await peer.send(get("/", *UPGRADE))
    await lab.until(lambda: sockets)
    peer.conn.abort()
    await peer.gone()
    assert sockets[0].closed
    assert sockets[0].send("x") is False
    go.set()
    await lab.turns()
    assert peer.host.connections == {}


@on_loop
async def test_w10_close_of_the_peer_is_echoed_and_told_once(lab: Lab) -> None:
    events: list[Any] = []
    peer = await open_websocket(
        lab,
        on_websocket_close=lambda c, code, reason: events.append((code, reason)),
        on_close=lambda c: events.append("close"),
    )
    await peer.send(frame(CLOSE, closing(4001, b"done")) + frame(TEXT, b"late"))
    assert await take(peer) == (CLOSE, closing(4001))
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert events == [(4001, "done"), "close"]


@on_loop
async def test_message_right_before_a_close_frame_is_answered(lab: Lab) -> None:
    peer = await open_websocket(lab, on_message=lambda c, m: m)
    await peer.send(frame(TEXT, b"last") + frame(CLOSE, closing(1000)))
    assert await take(peer) == (TEXT, b"last")
    assert await take(peer) == (CLOSE, closing(1000))


@on_loop
async def test_w10_close_waits_for_the_peers_frame_then_ends(lab: Lab) -> None:
    events: list[Any] = []
    peer = await open_websocket(
        lab, on_websocket_close=lambda c, code, reason: events.append((code, reason))
    )
    peer.conn.close("bye", code=4000, reason="over")
    assert peer.conn.send("late") is False
    assert await take(peer) == (TEXT, b"bye")
    assert await take(peer) == (CLOSE, closing(4000, b"over"))
    await peer.send(frame(TEXT, b"ignored") + frame(CLOSE, closing(4000)))
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert events == [(4000, "")]
    assert peer.host.stats.reasons == {"closed": 1}


@on_loop
async def test_w10_peer_that_never_answers_a_close_is_aborted(lab: Lab) -> None:
    events: list[Any] = []
    peer = await open_websocket(
        lab, close_timeout=0.1, on_websocket_close=lambda c, code, reason: events.append(code)
    )
    peer.conn.close()
    await peer.gone()
    assert events == [1006]


@on_loop
async def test_bad_close_code_is_refused_and_changes_nothing(lab: Lab) -> None:
    peer = await open_websocket(lab)
    with pytest.raises(ValueError, match="code"):
        peer.conn.close(code=1005)
    assert peer.conn.state == "open"


@pytest.mark.parametrize("asynchronous", [False, True])
@on_loop
async def test_c1_failing_handler_closes_1011(lab: Lab, asynchronous: bool) -> None:
    async def later() -> None:
        raise ValueError("boom")

    def fail(conn: Any, message: Any) -> Any:
        if asynchronous:
            return later()
        raise ValueError("boom")

    peer = await open_websocket(lab, on_message=fail)
    await peer.send(frame(TEXT, b"x"))
    first, payload = await take(peer)
    assert (first, payload[:2]) == (CLOSE, closing(1011))


@on_loop
async def test_protocol_error_is_answered_with_its_code(lab: Lab) -> None:
    events: list[int] = []
    peer = await open_websocket(lab, on_websocket_close=lambda c, code, r: events.append(code))
    await peer.send(b"\x81\x02hi")
    first, payload = await take(peer)
    assert (first, payload[:2]) == (CLOSE, closing(1002))
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert events == [1002]
    assert peer.host.stats.reasons == {"protocol_error": 1}


@on_loop
async def test_ping_is_answered_while_a_handler_is_at_work(lab: Lab) -> None:
    go = asyncio.Event()
    pings: list[bytes] = []

    async def held(conn: Any, message: str) -> str:
        await go.wait()
        return message

    peer = await open_websocket(
        lab, on_message=held, on_websocket_ping=lambda c, payload: pings.append(payload)
    )
    await peer.send(frame(TEXT, b"x") + frame(PING, b"there?"))
    assert await take(peer) == (PONG, b"there?")
    assert pings == []
    go.set()
    assert await take(peer) == (TEXT, b"x")
    await lab.until(lambda: pings == [b"there?"])


@on_loop
async def test_own_ping_brings_on_websocket_pong(lab: Lab) -> None:
    pongs: list[bytes] = []
    peer = await open_websocket(lab, on_websocket_pong=lambda c, payload: pongs.append(payload))
    assert peer.conn.ping(b"1") is True
    assert await take(peer) == (PING, b"1")
    await peer.send(frame(PONG, b"1"))
    await lab.until(lambda: pongs == [b"1"])


@on_loop
async def test_w11_silent_peer_is_pinged_then_closed(lab: Lab) -> None:
    peer = await open_websocket(lab, ping_interval=0.1, ping_timeout=0.2)
    assert await take(peer) == (PING, b"")
    await peer.send(frame(PONG, b""))
    assert await take(peer) == (PING, b"")
    await peer.gone()
    assert peer.host.stats.reasons == {"heartbeat": 1}


@on_loop
async def test_w11_busy_loop_does_not_kill_a_healthy_peer(lab: Lab) -> None:
    peer = await open_websocket(lab, ping_interval=0.1, ping_timeout=0.2)
    assert await take(peer) == (PING, b"")
    peer.sock.send(frame(PONG, b""))
    time.sleep(0.6)  # noqa: ASYNC251 - a handler that blocks the loop is what this is about
    await lab.turns(20)
    assert await take(peer) == (PING, b"")
    assert peer.conn.state == "open"


@on_loop
async def test_w11_heartbeat_stands_still_while_we_do_not_read(lab: Lab) -> None:
    peer = await open_websocket(lab, ping_interval=0.05, ping_timeout=0.05)
    peer.conn.pause()
    await asyncio.sleep(0.4)
    assert peer.conn.state == "open"


@on_loop
async def test_w7_ping_flood_is_closed_1008(lab: Lab) -> None:
    peer = await open_websocket(lab)
    await peer.send(frame(PING, b"x") * 300)
    while (got := await take(peer))[0] == PONG:
        pass
    assert got[0] == CLOSE
    assert got[1][:2] == closing(1008)


@on_loop
async def test_w7_pings_between_messages_are_no_flood(lab: Lab) -> None:
    peer = await open_websocket(lab, on_message=lambda c, m: m)
    for _ in range(30):
        await peer.send(frame(PING, b"") * 10 + frame(TEXT, b"x"))
        while (got := await take(peer))[0] == PONG:
            pass
        assert got == (TEXT, b"x")


@on_loop
async def test_w6_unfinished_message_is_closed_at_its_deadline(lab: Lab) -> None:
    peer = await open_websocket(lab, fragment_timeout=0.2)
    for _ in range(3):
        await peer.send(frame(0x01 if _ == 0 else 0x00, b"x"))
        await asyncio.sleep(0.03)
    first, payload = await take(peer)
    assert (first, payload[:2]) == (CLOSE, closing(1008))


@pytest.mark.parametrize(("reason", "code"), [("reload", 1012), ("stop", 1001)])
@on_loop
async def test_p14_drain_sends_the_close_code(lab: Lab, reason: str, code: int) -> None:
    peer = await open_websocket(lab)
    peer.conn.drain_out(reason, 5.0)
    assert await take(peer) == (CLOSE, closing(code))
    await peer.send(frame(CLOSE, closing(code)))
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {reason: 1}


@on_loop
async def test_slow_websocket_drops_messages_and_stays(lab: Lab) -> None:
    peer = await open_websocket(lab, buffer=4096, max_send_buffer=100_000)
    sent = 0
    while peer.conn.send("x" * 1000):
        sent += 1
    assert peer.conn.state == "open"
    for _ in range(sent):
        assert await take(peer) == (TEXT, b"x" * 1000)


@on_loop
async def test_end_without_a_close_frame_runs_on_close_at_once(lab: Lab) -> None:
    closed: list[Any] = []

    async def held(conn: Any, message: str) -> None:
        await asyncio.Event().wait()

    peer = await open_websocket(lab, on_message=held, on_close=closed.append)
    await peer.send(frame(TEXT, b"x"))
    await lab.until(lambda: peer.conn._running)
    peer.close()
    await lab.until(lambda: closed)
    assert peer.host.stats.reasons == {"peer": 1}


@on_loop
async def test_close_from_a_foreign_thread(lab: Lab) -> None:
    peer = await open_websocket(lab)
    await asyncio.to_thread(peer.conn.close, code=4002)
    assert await take(peer) == (CLOSE, closing(4002))


@on_loop
async def test_idle_timeout_of_http_spares_its_websockets(lab: Lab) -> None:
    peer = await open_websocket(
        lab, "http", idle_timeout=0.1, ping_interval=None, on_websocket_message=lambda c, m: m
    )
    await asyncio.sleep(0.3)
    await peer.send(frame(TEXT, b"still there"))
    assert await take(peer) == (TEXT, b"still there")


@on_loop
async def test_idle_timeout_of_a_websocket_worker_closes(lab: Lab) -> None:
    peer = await open_websocket(lab, idle_timeout=0.1, ping_interval=None)
    assert await take(peer) == (CLOSE, closing(1000, b"idle"))
