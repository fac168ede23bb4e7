"""What a peer may send ahead while nobody is served: bounded in bytes, and lost never.

Each drill sends 50 MB at a connection that is held in one way or another. The connection
must stop to read, so that the peer's send blocks; after the release everything is delivered,
in order.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from longline._core._states import READ_AHEAD_BYTES
from longline.protocols.http import Response

from .connection_lab import Lab, Peer, on_loop
from .test_connection_http import answer, get
from .test_connection_websocket import TEXT, open_websocket, take

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST = READ_AHEAD_BYTES + 256 * 1024
"""The bound, and the one read that went beyond it."""

COUNT, SIZE = 50, 1_000_000


class Flood:
    """A peer that sends until nobody takes it any more."""

    def __init__(self, peer: Peer, data: bytes) -> None:
        self.peer = peer
        self.data = memoryview(data)
        self.sent = 0

    async def until_blocked(self) -> None:
        conn = self.peer.conn
        while self.sent < len(self.data):
            try:
                self.sent += self.peer.sock.send(self.data[self.sent : self.sent + (1 << 18)])
            except BlockingIOError:
                if not conn._transport.is_reading():
                    break
            await asyncio.sleep(0)
            # The first message is not held back by anything but its own limit.
            assert conn.receive_queue <= SIZE + MOST
        await self.peer.lab.turns(50)
        assert conn.receive_queue <= MOST
        assert self.sent < len(self.data), "the peer was never made to wait"
        assert conn.state == "open"

    async def finish(self) -> None:
        sock, loop = self.peer.sock, self.peer.lab.loop
        await asyncio.wait_for(loop.sock_sendall(sock, self.data[self.sent :]), 20)


def posts(count: int = COUNT) -> bytes:
    return b"".join(
        get(f"/{n}", f"Content-Length: {SIZE}", method="POST") + bytes(SIZE) for n in range(count)
    )


async def check_answers(peer: Peer, count: int = COUNT) -> None:
    for n in range(count):
        assert (await answer(peer))[2] == b"/%d %d" % (n, SIZE)


def said(request: Any) -> str:
    return f"{request.path} {len(request.body)}"


@on_loop
async def test_requests_behind_a_sleeping_handler_are_left_to_the_kernel(lab: Lab) -> None:
    go = asyncio.Event()

    async def serve(conn: Any, request: Any) -> str:
        await go.wait()
        return said(request)

    peer = await lab.connect("http", on_message=serve)
    flood = Flood(peer, posts())
    await flood.until_blocked()
    go.set()
    await asyncio.gather(flood.finish(), check_answers(peer))


@on_loop
async def test_requests_behind_a_deferred_answer_are_left_to_the_kernel(lab: Lab) -> None:
    asked: list[Any] = []
    peer = await lab.connect("http", on_message=lambda c, r: asked.append(r))
    flood = Flood(peer, posts())
    await flood.until_blocked()

    async def serve() -> None:
        for n in range(COUNT):
            await lab.until(lambda: len(asked) == n + 1)  # noqa: B023 - awaited at once
            peer.conn.send(said(asked[n]))

    await asyncio.gather(flood.finish(), serve(), check_answers(peer))


@on_loop
async def test_requests_of_a_concurrent_host_are_left_to_the_kernel(lab: Lab) -> None:
    go = asyncio.Event()

    async def serve(conn: Any, request: Any) -> str:
        await go.wait()
        return said(request)

    peer = await lab.connect("http", concurrent=True, on_message=serve)
    flood = Flood(peer, posts())
    await flood.until_blocked()
    go.set()
    await asyncio.gather(flood.finish(), check_answers(peer))


@on_loop
async def test_body_behind_a_handler_that_has_answered_is_left_to_the_kernel(lab: Lab) -> None:
    """The next request is half parsed then, so its body comes without an event."""
    go = asyncio.Event()

    async def serve(conn: Any, request: Any) -> None:
        conn.send(said(request))
        await go.wait()

    peer = await lab.connect("http", on_message=serve)
    flood = Flood(peer, posts())
    await flood.until_blocked()
    go.set()
    await asyncio.gather(flood.finish(), check_answers(peer))


@on_loop
async def test_requests_behind_a_file_are_left_to_the_kernel(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(300_000))
    gate = threading.Event()
    # The one thread that could read the file is busy until the gate opens.
    lab.loop.set_default_executor(ThreadPoolExecutor(1))
    lab.loop.run_in_executor(None, gate.wait, 20)
    peer = await lab.connect(
        "http",
        on_message=lambda c, r: Response.file(tmp_path / "file") if r.path == "/file" else said(r),
    )
    flood = Flood(peer, get("/file") + posts())
    try:
        await flood.until_blocked()
    finally:
        gate.set()

    async def check() -> None:
        assert len((await answer(peer))[2]) == 300_000
        await check_answers(peer)

    await asyncio.gather(flood.finish(), check())


def lines() -> bytes:
    return b"".join(b"%d " % n + b"x" * 9990 + b"\n" for n in range(5000))


def frames() -> bytes:
    return b"".join(
        struct.pack("!I", SIZE + 4) + b"%10d" % n + bytes(SIZE - 10) for n in range(COUNT)
    )


def masked() -> bytes:
    # A key of zeros: the payload as it is.
    head = bytes([TEXT, 0xFF])
    return b"".join(
        head + struct.pack("!Q", SIZE) + bytes(4) + b"%10d" % n + b"x" * (SIZE - 10)
        for n in range(COUNT)
    )


async def connect(lab: Lab, scheme: str, handler: Callable[..., Any]) -> Peer:
    if scheme == "websocket":
        return await open_websocket(lab, on_message=handler)
    return await lab.connect(scheme, on_message=handler)


STREAMS = {"text": (lines, 5000), "frame": (frames, COUNT), "websocket": (masked, COUNT)}


@pytest.mark.parametrize("scheme", STREAMS)
@on_loop
async def test_messages_behind_an_asynchronous_handler_are_left_to_the_kernel(
    lab: Lab, scheme: str
) -> None:
    go = asyncio.Event()
    seen: list[int] = []

    async def serve(conn: Any, message: Any) -> None:
        seen.append(int(message[:10].split()[0]))
        await go.wait()

    data, count = STREAMS[scheme]
    peer = await connect(lab, scheme, serve)
    flood = Flood(peer, data())
    await flood.until_blocked()
    go.set()
    await asyncio.gather(flood.finish(), lab.until(lambda: len(seen) == count))
    assert seen == list(range(count))


@pytest.mark.parametrize("scheme", STREAMS)
@on_loop
async def test_messages_behind_a_pause_are_left_to_the_kernel(lab: Lab, scheme: str) -> None:
    seen: list[int] = []

    def serve(conn: Any, message: Any) -> None:
        seen.append(int(message[:10].split()[0]))
        if seen == [0]:
            conn.pause()

    data, count = STREAMS[scheme]
    peer = await connect(lab, scheme, serve)
    flood = Flood(peer, data())
    await flood.until_blocked()
    assert seen == [0]
    peer.conn.resume()
    await asyncio.gather(flood.finish(), lab.until(lambda: len(seen) == count))
    assert seen == list(range(count))


@on_loop
async def test_a_source_is_left_to_the_kernel_while_the_target_is_full(lab: Lab) -> None:
    source, target = await lab.connect("tcp"), await lab.connect("tcp")
    source.conn.pipe(target.conn)
    data = lines()
    flood = Flood(source, data)
    await flood.until_blocked()
    assert target.conn.send_queue <= 1 << 20
    received = bytearray()

    async def take_all() -> None:
        while len(received) < len(data):
            received.extend(await target.read(1 << 20))

    await asyncio.gather(take_all(), flood.finish())
    assert received == data


@on_loop
async def test_first_frames_during_a_handshake_are_left_to_the_kernel(lab: Lab) -> None:
    go = asyncio.Event()
    seen: list[int] = []

    async def admit(conn: Any, request: Any) -> None:
        await go.wait()

    peer = await lab.connect(
        "websocket",
        on_websocket_connect=admit,
        on_message=lambda c, m: seen.append(int(m[:10])),
    )
    upgrade = get("/", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    flood = Flood(peer, upgrade + masked())
    await flood.until_blocked()
    go.set()
    await asyncio.gather(flood.finish(), lab.until(lambda: len(seen) == COUNT))
    assert seen == list(range(COUNT))


@on_loop
async def test_a_websocket_paused_before_its_101_reads_after_resume(lab: Lab) -> None:
    held: list[Any] = []

    def admit(conn: Any, request: Any) -> None:
        held.append(conn)
        conn.pause()

    peer = await open_websocket(lab, on_websocket_connect=admit, on_message=lambda c, m: m)
    await lab.turns()
    assert not held[0]._transport.is_reading()
    await peer.send(bytes([TEXT, 0x82]) + bytes(4) + b"hi")
    await lab.turns()
    held[0].resume()
    assert await take(peer) == (TEXT, b"hi")


@on_loop
async def test_an_answer_behind_an_interim_one_lets_the_next_request_in(lab: Lab) -> None:
    asked: list[Any] = []
    peer = await lab.connect("http", on_message=lambda c, r: asked.append(r))
    await peer.send(get("/0") + get("/1"))
    await lab.until(lambda: asked)
    peer.conn.send(Response(status=103))
    peer.conn.send("first")
    assert (await answer(peer, body=False))[0] == 103
    assert (await answer(peer))[2] == b"first"
    await lab.until(lambda: len(asked) == 2)
    assert asked[1].path == "/1"
