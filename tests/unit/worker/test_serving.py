"""A Worker alive in the running loop: bounds, loans, leaving; each on both event loops."""

# ruff: noqa: ASYNC110  # what is waited for has no event of its own
from __future__ import annotations

import asyncio
import gc
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from longline import Worker
from longline.loop import new_event_loop
from longline.worker.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

HERE = "127.0.0.1:0"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine to its end; fails when the loop was told of an unhandled exception."""

    def run(work: Coroutine[Any, Any, None]) -> None:
        loop = new_event_loop(request.param)
        complaints: list[Any] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        try:
            loop.run_until_complete(asyncio.wait_for(work, 20))
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
        assert complaints == []

    return run


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def dial(worker: Worker) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", worker.ports[0])


async def hang_up(*peers: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    for _, writer in peers:
        writer.close()
    for _, writer in peers:
        try:
            await writer.wait_closed()
        except ConnectionError:
            continue


def test_an_echo_within_a_running_loop(run: Any) -> None:
    worker = Worker(f"text://{HERE}")

    @worker.on_message
    def echo(conn: Any, text: str) -> str:
        return text.upper()

    async def work() -> None:
        async with worker.serving() as same:
            assert same is worker
            assert worker.id == 0
            reader, writer = peer = await dial(worker)
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
            await hang_up(peer)
        with pytest.raises(RuntimeError, match="does not serve"):
            _ = worker.ports

    run(work())


def test_nothing_is_left_open_after_serving(run: Any, tmp_path: Path) -> None:
    worker = Worker(f"text+unix://{tmp_path}/s")
    found: list[int] = []

    async def work() -> None:
        for _ in range(5):
            async with worker.serving():
                assert (tmp_path / "s").is_socket()
                found.append(len(os.listdir("/proc/self/fd")))
            assert not (tmp_path / "s").exists()

    run(work())
    assert len(set(found)) == 1


def test_on_start_runs_before_anything_is_accepted(run: Any) -> None:
    worker = Worker(f"text://{HERE}")
    order: list[str] = []
    worker.on_connect(lambda conn: order.append("connect"))

    @worker.on_start
    async def start(started: Worker) -> None:
        _, port = started.ports[0], started.ports[0]
        peer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.02)
        order.append("started")
        await hang_up(peer)

    async def work() -> None:
        async with worker.serving():
            await until(lambda: len(order) == 2)

    run(work())
    assert order == ["started", "connect"]


def test_an_on_start_that_fails_leaves_nothing_behind(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    worker = Worker(f"text+unix://{path}")
    stopped: list[Worker] = []
    worker.on_stop(stopped.append)

    @worker.on_start
    def start(_: Worker) -> None:
        raise ValueError("no database")

    async def work() -> None:
        with pytest.raises(ValueError, match="no database"):
            async with worker.serving():
                pass  # pragma: no cover
        assert worker.serving_here is None

    run(work())
    gc.collect()
    assert not path.exists()
    assert stopped == []


def test_serving_twice_at_once_is_refused(run: Any) -> None:
    worker = Worker(f"text://{HERE}")

    async def work() -> None:
        async with worker.serving():
            with pytest.raises(RuntimeError, match="serves here already"):
                async with worker.serving():
                    pass  # pragma: no cover
            assert worker.ports

    run(work())


def test_max_connections_pauses_accepting_and_goes_on_when_one_leaves(run: Any) -> None:
    worker = Worker(f"text://{HERE}", max_connections=3)

    async def work() -> None:
        async with worker.serving():
            serving = worker.serving_here
            assert serving is not None
            peers = [await dial(worker) for _ in range(8)]
            await until(lambda: len(worker.connections) == 3)
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert len(worker.connections) == 3
            assert serving.refused["max_connections"] == 1
            for index in range(5):
                await hang_up(peers[index])
                await until(lambda: serving.host.stats.accepted == index + 4)  # noqa: B023
                assert len(worker.connections) <= 3
            await hang_up(*peers[5:])
            await until(lambda: not worker.connections)

    run(work())


def test_a_loan_or_a_resume_does_not_lift_the_limit(run: Any) -> None:
    worker = Worker(f"text://{HERE}", max_connections=1)

    async def work() -> None:
        async with worker.serving():
            serving = worker.serving_here
            assert serving is not None
            sibling = socket.create_server(("127.0.0.1", 0))
            port = sibling.getsockname()[1]
            first = await dial(worker)
            await until(lambda: len(worker.connections) == 1)
            serving.lend(3, sibling)
            worker.resume_accept()
            second = await asyncio.open_connection("127.0.0.1", port)
            third = await dial(worker)
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert len(worker.connections) == 1
            await hang_up(first)
            await until(lambda: serving.host.stats.accepted == 2)
            await hang_up(second, third)

    run(work())


def test_a_peer_that_cannot_become_a_connection_takes_no_place(run: Any) -> None:
    fails = [True] * 6

    class Faulty:
        def __init__(self) -> None:
            if fails.pop():
                raise ValueError("no codec")

        def decode(self, buffer: memoryview) -> Any:
            return (bytes(buffer), len(buffer)) if len(buffer) else None

        def encode(self, message: bytes) -> bytes:
            return message

    worker = Worker(f"tcp://{HERE}", protocol=Faulty, max_connections=2, max_connections_per_ip=2)

    async def work() -> None:
        async with worker.serving():
            serving = worker.serving_here
            assert serving is not None
            for _ in range(6):
                reader, _ = peer = await dial(worker)
                assert await reader.read() == b""
                await hang_up(peer)
            assert serving.refused["accept"] == 6
            fails[:] = [False]
            peer = await dial(worker)
            await until(lambda: len(worker.connections) == 1)
            await hang_up(peer)

    run(work())


def test_max_connections_per_ip_closes_before_reading_and_counts(run: Any) -> None:
    worker = Worker(f"text://{HERE}", max_connections_per_ip=2)

    async def work() -> None:
        async with worker.serving():
            serving = worker.serving_here
            assert serving is not None
            kept = [await dial(worker), await dial(worker)]
            await until(lambda: len(worker.connections) == 2)
            reader, _ = refused = await dial(worker)
            assert await reader.read() == b""
            assert serving.refused["max_connections_per_ip"] == 1
            await hang_up(refused, kept.pop())
            await until(lambda: len(worker.connections) == 1)
            kept.append(await dial(worker))
            await until(lambda: len(worker.connections) == 2)
            await hang_up(*kept)
            await until(lambda: not worker.connections)
            assert not serving._by_ip
            assert not serving._ips

    run(work())


def test_pause_accept_lets_the_queue_fill_and_resume_serves_it(run: Any) -> None:
    worker = Worker(f"text://{HERE}")

    async def work() -> None:
        async with worker.serving():
            worker.pause_accept()
            peers = [await dial(worker) for _ in range(3)]
            await asyncio.sleep(0.02)
            assert not worker.connections
            worker.resume_accept()
            await until(lambda: len(worker.connections) == 3)
            await hang_up(*peers)

    run(work())


def test_a_siblings_socket_is_served_until_it_is_given_back(run: Any) -> None:
    worker = Worker(f"text://{HERE}")

    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as owner:
            owner.setblocking(False)
            port = owner.getsockname()[1]
            async with worker.serving():
                serving = worker.serving_here
                assert serving is not None
                serving.lend(2, owner.dup())
                serving.lend(2, owner.dup())
                peer = await asyncio.open_connection("127.0.0.1", port)
                await until(lambda: len(worker.connections) == 1)
                serving.give_back(2)
                serving.give_back(2)
                later = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.sleep(0.02)
                assert len(worker.connections) == 1
                await hang_up(peer, later)

    run(work())


def test_a_socket_that_is_lent_while_it_drains_is_closed(run: Any) -> None:
    worker = Worker(f"text://{HERE}")

    async def work() -> None:
        serving = Serving(worker)
        await serving.start([])
        await serving.leave("stop", grace=0, spread=0)
        sock = socket.create_server(("127.0.0.1", 0))
        serving.lend(1, sock)
        assert sock.fileno() == -1
        serving.close()

    run(work())


@pytest.mark.parametrize("scheme", ["text", "tcp", "http", "websocket"])
def test_leaving_closes_idle_connections_and_runs_on_stop_first(run: Any, scheme: str) -> None:
    worker = Worker(f"{scheme}://{HERE}", close_timeout=0.2)
    seen: list[int] = []
    worker.on_stop(lambda stopped: seen.append(len(stopped.connections)))

    async def work() -> None:
        async with worker.serving():
            reader, writer = peer = await dial(worker)
            if scheme == "websocket":
                writer.write(
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                    b"Sec-WebSocket-Version: 13\r\n\r\n"
                )
                assert b"101" in await reader.readuntil(b"\r\n\r\n")
            await until(lambda: len(worker.connections) == 1)
            leaving = asyncio.get_running_loop().create_task(reader.read())
            if scheme == "websocket":
                # A close frame with 1001, which the peer answers by its own.
                answer = asyncio.get_running_loop().create_task(_answer_close(writer, leaving))
        rest = await leaving
        if scheme == "websocket":
            await answer
            assert rest[:4] == b"\x88" + rest[1:2] + (1001).to_bytes(2, "big")
        await hang_up(peer)

    run(work())
    assert seen == [1]


async def _answer_close(writer: asyncio.StreamWriter, leaving: asyncio.Task[bytes]) -> None:
    await asyncio.sleep(0.05)
    writer.write(b"\x88\x82\0\0\0\0" + (1001).to_bytes(2, "big"))


def test_the_deadline_closes_who_does_not_leave(run: Any, caplog: Any) -> None:
    worker = Worker(f"text://{HERE}", stop_timeout=0.05)
    worker.on_message(_sleep)

    async def work() -> None:
        async with worker.serving():
            reader, writer = peer = await dial(worker)
            writer.write(b"work\n")
            await until(lambda: worker.serving_here.host.stats.messages == 1)  # type: ignore[union-attr]
        try:
            assert await reader.read() == b""
        except ConnectionError:
            caplog.clear()
        await hang_up(peer)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    run(work())


async def _sleep(conn: Any, message: str) -> None:
    await asyncio.sleep(60)


def test_listen_opens_a_further_port_in_the_process(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longline import app

    monkeypatch.setattr(app, "embedded", [])
    inner = Worker(f"text://{HERE}")
    inner.on_message(lambda conn, text: text)

    async def work() -> None:
        inner.listen()
        with pytest.raises(RuntimeError, match="serves here already"):
            inner.listen()
        reader, writer = peer = await dial(inner)
        writer.write(b"push\n")
        assert await reader.readline() == b"push\n"
        await hang_up(peer)
        (embedded,) = app.embedded
        embedded.close()

    run(work())
