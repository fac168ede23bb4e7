"""How connections end: by us, by the peer, by errors, by deadlines, by draining."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

import pytest

from .connection_lab import Lab, on_loop


@on_loop
async def test_close_delivers_its_message_before_the_end(lab: Lab) -> None:
    closed: list[Any] = []
    peer = await lab.connect(on_close=closed.append)
    peer.conn.send("first")
    peer.conn.close("last")
    assert peer.conn.state == "closing"
    assert peer.conn.send("late") is False
    assert await peer.rest() == b"first\nlast\n"
    await peer.gone()
    assert peer.conn.closed
    assert peer.conn.state == "closed"
    assert closed == [peer.conn]
    assert peer.host.stats.reasons == {"closed": 1}


@on_loop
async def test_on_close_runs_once_whatever_is_called(lab: Lab) -> None:
    closed: list[Any] = []
    peer = await lab.connect(on_close=closed.append)
    peer.conn.close()
    peer.conn.end()
    peer.conn.abort()
    await peer.gone()
    peer.conn.abort()
    peer.conn.close()
    await lab.turns()
    assert len(closed) == 1
    assert peer.host.connections == {}
    assert peer.host.stats.connections == 0


@on_loop
async def test_end_discards_input_so_that_the_answer_survives(lab: Lab) -> None:
    peer = await lab.connect("tcp", tcp=True, on_message=lambda c, m: c.end(b"enough"))
    await peer.send(b"x" * 100_000)
    await peer.send(b"x" * 100_000)
    assert await peer.rest() == b"enough"
    await peer.send(b"x" * 100_000)
    peer.half_close()
    await peer.gone()


@on_loop
async def test_end_is_bounded_by_close_timeout(lab: Lab) -> None:
    peer = await lab.connect(close_timeout=0.1)
    peer.conn.end("bye")
    assert await peer.rest() == b"bye\n"
    await peer.gone()


@on_loop
async def test_close_is_bounded_when_the_peer_takes_nothing(lab: Lab) -> None:
    peer = await lab.connect("tcp", buffer=4096, close_timeout=0.1, max_send_buffer=None)
    peer.conn.close(b"x" * 4_000_000)
    await peer.gone()
    assert peer.host.stats.reasons == {"closed": 1, "close_timeout": 1}


@on_loop
async def test_a_long_last_answer_may_take_longer_than_close_timeout(lab: Lab) -> None:
    peer = await lab.connect("tcp", buffer=4096, close_timeout=0.6, max_send_buffer=None)
    peer.conn.close(b"x" * 1_000_000)
    got = 0
    started = lab.loop.time()
    while got < 1_000_000:
        got += len(await peer.read(50_000))
        if lab.loop.time() - started < 1.5:
            await asyncio.sleep(0.05)
    assert await peer.rest() == b""


@on_loop
async def test_abort_drops_what_was_not_written(lab: Lab) -> None:
    peer = await lab.connect(tcp=True)
    peer.conn.send("lost")
    peer.conn.abort()
    await peer.gone()
    assert peer.host.stats.reasons == {"aborted": 1}


@on_loop
async def test_half_close_delivers_answers_and_then_ends(lab: Lab) -> None:
    async def slow(conn: Any, message: str) -> str:
        await asyncio.sleep(0.001)
        return message

    peer = await lab.connect(on_message=slow)
    await peer.send(b"".join(b"%d\n" % n for n in range(100)))
    peer.half_close()
    assert await peer.rest() == b"".join(b"%d\n" % n for n in range(100))
    await peer.gone()
    assert peer.host.stats.reasons == {"peer": 1}


@on_loop
async def test_end_in_the_middle_of_a_message_is_counted(lab: Lab) -> None:
    peer = await lab.connect()
    await peer.send(b"half a li")
    peer.half_close()
    assert await peer.rest() == b""
    await peer.gone()
    assert peer.host.stats.reasons == {"incomplete": 1}


@on_loop
async def test_reset_runs_on_close_at_once_and_spares_the_handler(lab: Lab) -> None:
    go = asyncio.Event()
    sent: list[bool] = []
    closed: list[Any] = []

    async def held(conn: Any, message: str) -> None:
        await go.wait()
        sent.append(conn.send("late"))

    peer = await lab.connect(tcp=True, on_message=held, on_close=closed.append)
    await peer.send(b"x\n")
    await lab.until(lambda: peer.conn._running)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await lab.until(lambda: closed)
    assert sent == []
    go.set()
    await lab.until(lambda: sent)
    assert sent == [False]
    assert peer.host.stats.reasons == {"reset": 1}


@on_loop
async def test_cancel_on_close_cancels_the_handler(lab: Lab) -> None:
    cancelled = asyncio.Event()

    async def held(conn: Any, message: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    peer = await lab.connect(on_message=held, cancel_on_close=True)
    await peer.send(b"x\n")
    await lab.until(lambda: peer.conn._running)
    peer.close()
    await asyncio.wait_for(cancelled.wait(), 10)


@on_loop
async def test_protocol_error_behind_messages_comes_after_their_answers(lab: Lab) -> None:
    async def slow(conn: Any, message: str) -> str:
        await asyncio.sleep(0.001)
        return message

    peer = await lab.connect(on_message=slow, max_message_bytes=10)
    await peer.send(b"a\nb\n")
    await peer.send(b"x" * 100)
    assert await peer.rest() == b"a\nb\n"
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"oversize": 1}


@on_loop
async def test_idle_timeout_counts_from_the_last_traffic(lab: Lab) -> None:
    peer = await lab.connect(idle_timeout=0.8, on_message=lambda c, m: m)
    for _ in range(4):
        await asyncio.sleep(0.25)
        await peer.send(b"x\n")
        await peer.until(b"x\n")
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"idle": 1}


@on_loop
async def test_no_idle_timeout_leaves_the_wheel_empty(lab: Lab) -> None:
    peer = await lab.connect()
    assert not peer.host.wheel.running
    assert peer.conn.state == "open"


@on_loop
async def test_p14_drain_waits_for_work_then_for_quiet(lab: Lab) -> None:
    go = asyncio.Event()

    async def held(conn: Any, message: str) -> str:
        await go.wait()
        return message

    peer = await lab.connect(on_message=held)
    await peer.send(b"x\n")
    await lab.until(lambda: peer.conn._running)
    peer.conn.drain_out("reload", 0.0)
    await asyncio.sleep(0.15)
    assert peer.conn.state == "open"
    go.set()
    assert await peer.rest() == b"x\n"
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"reload": 1}


@on_loop
async def test_p14_drain_without_grace_closes_an_idle_connection_at_once(lab: Lab) -> None:
    peer = await lab.connect()
    peer.conn.drain_out("stop", 0.0)
    assert peer.conn.state == "closing"
    assert await peer.rest() == b""


@on_loop
async def test_p14_message_within_the_grace_is_answered(lab: Lab) -> None:
    peer = await lab.connect(on_message=lambda c, m: m)
    peer.conn.drain_out("reload", 0.5)
    await peer.send(b"x\n")
    assert await peer.until(b"\n") == b"x\n"
    assert await peer.rest() == b""


@on_loop
async def test_addresses_of_tcp(lab: Lab) -> None:
    peer = await lab.connect(tcp=True)
    host, port = peer.sock.getsockname()
    assert (peer.conn.remote, peer.conn.remote_ip, peer.conn.remote_port) == (
        f"{host}:{port}", host, port)  # fmt: skip
    assert peer.conn.local == "{}:{}".format(*peer.sock.getpeername())
    assert peer.conn.transport_name == "tcp"


@on_loop
async def test_addresses_of_unix_and_identity(lab: Lab) -> None:
    peer = await lab.connect(worker="the worker")
    conn = peer.conn
    assert (conn.remote, conn.remote_ip, conn.remote_port) == ("", "", 0)
    assert conn.transport_name == "unix"
    assert conn.worker == "the worker"
    conn.data.user = "ann"
    assert conn.data.user == "ann"
    assert peer.host.connections == {conn.id: conn}
    other = await lab.connect()
    assert other.conn.id > conn.id


@on_loop
async def test_stats_count_both_ways(lab: Lab) -> None:
    peer = await lab.connect(on_message=lambda c, m: m)
    await peer.send(b"abc\nd\n")
    await peer.until(b"d\n")
    stats = peer.conn.stats
    assert (stats.bytes_read, stats.bytes_written) == (6, 6)
    assert (stats.messages_in, stats.messages_out, stats.send_failures) == (2, 2, 0)
    peer.conn.close()
    await peer.gone()
    assert peer.host.stats.bytes_read == 6
    assert peer.host.stats.peak_connections == 1


@on_loop
async def test_c7_connections_that_come_and_go_leave_nothing(lab: Lab) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    before = 0
    for n in range(50):
        peer = await lab.connect(idle_timeout=60)
        if n % 2:
            await peer.send(b"half")
            await lab.until(lambda peer=peer: peer.conn.bytes_read)
        peer.close()
        await peer.gone()
        assert not peer.host.wheel.running
        assert not peer.host.connections
        if n == 9:
            before = descriptors()
    await lab.until(lambda: descriptors() <= before)


@pytest.mark.parametrize("call", ["close", "end"])
@on_loop
async def test_unsendable_last_message_leaves_the_connection_open(lab: Lab, call: str) -> None:
    peer = await lab.connect()
    with pytest.raises(TypeError):
        getattr(peer.conn, call)(object())
    assert peer.conn.state == "open"
