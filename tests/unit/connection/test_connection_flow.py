"""Back-pressure: limits, pauses, stalled peers, pipes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .connection_lab import Lab, on_loop


@on_loop
async def test_pause_holds_messages_that_were_received_already(lab: Lab) -> None:
    seen: list[str] = []

    def pausing(conn: Any, message: str) -> None:
        seen.append(message)
        if message == "b":
            conn.pause()

    peer = await lab.connect(on_message=pausing)
    await peer.send(b"a\nb\nc\nd\n")
    await lab.until(lambda: len(seen) == 2)
    await peer.send(b"e\n")
    await lab.turns(20)
    assert seen == ["a", "b"]
    peer.conn.resume()
    await lab.until(lambda: len(seen) == 5)
    assert seen == ["a", "b", "c", "d", "e"]


@on_loop
async def test_messages_buffered_at_a_pause_survive_the_peers_end(lab: Lab) -> None:
    peer = await lab.connect(on_message=lambda c, m: m)
    peer.conn.pause()
    await peer.send(b"a\nb\n")
    peer.half_close()
    await lab.turns()
    peer.conn.resume()
    assert await peer.rest() == b"a\nb\n"


@on_loop
async def test_c3_full_and_drain_come_in_pairs(lab: Lab) -> None:
    events: list[str] = []
    peer = await lab.connect(
        "frame", buffer=4096, max_send_buffer=200_000,
        on_buffer_full=lambda c: events.append("full"),
        on_buffer_drain=lambda c: events.append("drain"),
    )  # fmt: skip
    for _ in range(3):
        await lab.until(lambda: not peer.conn.send(b"x" * 20_000))
        while events[-1] != "drain":
            await peer.read()
    assert events == ["full", "drain"] * 3


@on_loop
async def test_message_protocol_drops_what_exceeds_the_send_buffer(lab: Lab) -> None:
    errors: list[Exception] = []
    peer = await lab.connect(
        buffer=4096, max_send_buffer=100_000, on_error=lambda c, e: errors.append(e)
    )
    sent = 0
    while peer.conn.send("x" * 999):
        sent += 1
    assert peer.conn.state == "open"
    assert isinstance(errors[0], BufferError)
    assert peer.conn.send_queue <= 101_000
    assert peer.host.stats.send_failures == peer.conn.send_failures == 1
    assert len(await peer.exactly(sent * 1000)) == sent * 1000
    await lab.until(lambda: peer.conn.send_queue == 0)
    assert peer.conn.send("again") is True


@on_loop
async def test_one_message_may_exceed_the_send_buffer(lab: Lab) -> None:
    peer = await lab.connect("tcp", max_send_buffer=1000)
    assert peer.conn.send(b"x" * 500_000) is True
    assert len(await peer.exactly(500_000)) == 500_000


@on_loop
async def test_byte_stream_closes_rather_than_leave_a_gap(lab: Lab) -> None:
    peer = await lab.connect("tcp", buffer=4096, max_send_buffer=100_000)
    while peer.conn.send(b"x" * 1000):
        pass
    assert peer.conn.state != "open"
    await peer.gone()
    assert peer.host.stats.reasons == {"slow_reader": 1}


@on_loop
async def test_send_to_a_closed_connection_is_false_counted_and_told(lab: Lab) -> None:
    errors: list[Exception] = []

    def told(conn: Any, error: Exception) -> None:
        errors.append(error)
        conn.send("from on_error")

    peer = await lab.connect(on_error=told)
    peer.conn.close()
    assert peer.conn.send("x") is False
    assert isinstance(errors[0], BrokenPipeError)
    assert len(errors) == 1
    assert peer.conn.stats.send_failures == 2


@on_loop
async def test_w12_drain_waits_for_room(lab: Lab) -> None:
    peer = await lab.connect("tcp", buffer=4096, max_send_buffer=100_000)
    sender = asyncio.ensure_future(_send_all(peer.conn, 50))
    await lab.turns(20)
    assert not sender.done()
    assert len(await peer.exactly(50 * 20_000)) == 50 * 20_000
    assert await sender == [True] * 50


async def _send_all(conn: Any, count: int) -> list[bool]:
    results = []
    for _ in range(count):
        results.append(conn.send(b"x" * 20_000))
        await conn.drain()
    return results


@on_loop
async def test_w12_drain_ends_when_the_peer_goes(lab: Lab) -> None:
    peer = await lab.connect("tcp", buffer=4096)
    peer.conn.send(b"x" * 1_000_000)
    waiting = asyncio.ensure_future(peer.conn.drain())
    await lab.turns()
    assert not waiting.done()
    peer.close()
    await asyncio.wait_for(waiting, 10)
    assert peer.conn.send(b"x") is False


@pytest.mark.parametrize("size", [20_000, 400_000])
@on_loop
async def test_c3_peer_that_takes_nothing_is_closed_at_the_stall_deadline(
    lab: Lab, size: int
) -> None:
    peer = await lab.connect("tcp", buffer=2048, write_timeout=0.2)
    peer.conn.send(b"x" * size)
    await peer.gone()
    assert peer.host.stats.reasons == {"slow_reader": 1}


@on_loop
async def test_slow_peer_that_takes_something_is_kept(lab: Lab) -> None:
    peer = await lab.connect("tcp", buffer=4096, write_timeout=0.6)
    peer.conn.send(b"x" * 900_000)
    end = lab.loop.time() + 1.5
    while lab.loop.time() < end:
        await peer.read(8192)
        await asyncio.sleep(0.02)
    assert peer.conn.state == "open"


@on_loop
async def test_encoded_bytes_are_shared_by_write(lab: Lab) -> None:
    peers = [await lab.connect() for _ in range(3)]
    data = peers[0].conn.codec.encode("hello")
    assert all(peer.conn.write(data) for peer in peers)
    for peer in peers:
        assert await peer.until(b"\n") == b"hello\n"
    peers[0].conn.close()
    assert peers[0].conn.write(data) is False


@on_loop
async def test_pipe_moves_much_with_little_memory(lab: Lab) -> None:
    source = await lab.connect("tcp")
    target = await lab.connect("tcp", max_send_buffer=200_000, buffer=8192)
    source.conn.pipe(target.conn)
    total, most, got = 8_000_000, 0, 0
    sending = asyncio.ensure_future(source.send(b"x" * total))
    while got < total:
        most = max(most, target.conn.send_queue)
        got += len(await target.read(1 << 18))
    await sending
    assert most < 700_000


@on_loop
async def test_pipe_hands_on_the_end_behind_the_last_byte(lab: Lab) -> None:
    source, target = await lab.connect("tcp"), await lab.connect("tcp")
    source.conn.pipe(target.conn)
    await source.send(b"last words")
    source.half_close()
    assert await target.rest() == b"last words"
    await source.gone()
    target.close()
    await target.gone()
    assert target.host.stats.reasons == {"pipe": 1}


@on_loop
async def test_pipes_both_ways_keep_the_other_direction_open(lab: Lab) -> None:
    client, server = await lab.connect("tcp"), await lab.connect("tcp")
    client.conn.pipe(server.conn)
    server.conn.pipe(client.conn)
    await client.send(b"question")
    client.half_close()
    assert await server.rest() == b"question"
    await server.send(b"answer")
    server.close()
    assert await client.rest() == b"answer"
    await client.gone()
    await server.gone()


@on_loop
async def test_pipe_closes_the_source_when_the_target_goes(lab: Lab) -> None:
    source, target = await lab.connect("tcp"), await lab.connect("tcp")
    source.conn.pipe(target.conn)
    target.conn.abort()
    assert await source.rest() == b""
    with pytest.raises(ValueError, match="itself"):
        source.conn.pipe(source.conn)


@on_loop
async def test_send_behind_a_handed_on_end_is_false(lab: Lab) -> None:
    client, server = await lab.connect("tcp"), await lab.connect("tcp")
    client.conn.pipe(server.conn)
    server.conn.pipe(client.conn)
    client.half_close()
    assert await server.rest() == b""
    assert server.conn.state == "open"
    assert server.conn.send(b"too late") is False
    server.half_close()
    await server.gone()
    await client.gone()


@pytest.mark.parametrize("name", ["drain", "wait_closed"])
@on_loop
async def test_coroutines_of_a_connection_are_refused_in_another_loop(lab: Lab, name: str) -> None:
    peer = await lab.connect()

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match=f"{name}.. is awaited in the connection's own loop"):
            asyncio.run(getattr(peer.conn, name)())

    await lab.loop.run_in_executor(None, elsewhere)
