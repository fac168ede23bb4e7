"""Rooms and broadcasts within one process: encoded once, closed members leave."""

# ruff: noqa: ASYNC110  # what is waited for has no event of its own
from __future__ import annotations

import asyncio
from typing import Any

from longline import Worker
from longline.loop import new_event_loop


def in_service(play: Any, peers: int = 3, **options: Any) -> None:
    """Play with a Worker that serves, its connections, and the peers' readers and writers."""
    worker = Worker("text://127.0.0.1:0", **options)

    async def work() -> None:
        async with worker.serving():
            ends = [
                await asyncio.open_connection("127.0.0.1", worker.ports[0]) for _ in range(peers)
            ]
            while len(worker.connections) < peers:
                await asyncio.sleep(0.001)
            by_port = {conn.remote: conn for conn in worker.connections.values()}
            names = ["{}:{}".format(*writer.get_extra_info("sockname")) for _, writer in ends]
            await play(worker, [by_port[name] for name in names], ends)
            for _, writer in ends:
                writer.close()

    loop = new_event_loop("asyncio")
    try:
        loop.run_until_complete(asyncio.wait_for(work(), 20))
    finally:
        loop.close()


def test_a_broadcast_reaches_everybody_but_the_excluded() -> None:
    async def play(worker: Worker, conns: list[Any], ends: list[Any]) -> None:
        assert worker.broadcast("all") == 3
        assert worker.broadcast("one out", exclude=conns[0]) == 2
        assert worker.broadcast("two out", exclude=conns[1:]) == 1
        assert worker.broadcast("none", exclude=worker.connections.values()) == 0
        assert await ends[0][0].readline() == b"all\n"
        assert await ends[0][0].readline() == b"two out\n"
        assert await ends[1][0].readline() == b"all\n"
        assert await ends[1][0].readline() == b"one out\n"

    in_service(play)


def test_a_broadcast_is_encoded_once() -> None:
    async def play(worker: Worker, conns: list[Any], ends: list[Any]) -> None:
        codec = type(conns[0].codec)
        encode, calls = codec.encode, []

        def counting(self: Any, message: Any) -> bytes:
            calls.append(message)
            return encode(self, message)  # type: ignore[no-any-return]

        codec.encode = counting
        try:
            worker.broadcast("once")
        finally:
            codec.encode = encode
        assert len(calls) == 1

    in_service(play)


def test_rooms_are_joined_left_and_forgotten() -> None:
    async def play(worker: Worker, conns: list[Any], ends: list[Any]) -> None:
        for conn in conns:
            conn.join("room")
            conn.join("room")
        room = worker.to("room")
        assert room.send("hello", exclude=conns[0]) == 2
        conns[1].leave("room")
        conns[1].leave("room")
        assert room.members == [conns[0], conns[2]]
        conns[0].abort()
        while len(room.members) > 1:
            await asyncio.sleep(0.001)
        conns[0].join("room")
        assert room.members == [conns[2]]
        assert worker.to("empty").send("x") == 0
        conns[2].leave("room")
        rooms = worker.serving_here.rooms  # type: ignore[union-attr]
        assert not rooms._members
        assert not rooms._rooms

    in_service(play)
