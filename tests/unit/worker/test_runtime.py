"""A worker process under orders: a played master, a real loop."""

# ruff: noqa: ASYNC110  # what is waited for has no event of its own
from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from longline import Worker
from longline.supervisor.channel import Channel
from longline.supervisor.link import WorkerLink
from longline.worker.runtime import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Master:
    """The other end of a worker's channel."""

    def __init__(self) -> None:
        ours, theirs = Channel.pair()
        self.channel = Channel(ours)
        order = {"slot": 1, "generation": 1}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.link = WorkerLink(Channel(theirs), order, [self.listener.dup()], os.getppid())
        self.heard: list[dict[str, Any]] = []

    def order(self, do: str, *fds: int, **body: Any) -> None:
        self.channel.send({"do": do, **body}, fds)

    def drain(self, timeout: float = 5.0) -> None:
        self.order("drain", reason="stop", timeout=timeout, grace=0.0, spread=0.0)

    async def hears(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                self.heard += [m.body for m in self.channel.receive()]
                for body in self.heard:
                    if body["event"] == event:
                        self.heard.remove(body)
                        return body
                await asyncio.sleep(0.002)


@pytest.fixture
def master() -> Iterator[Master]:
    before = signal.getsignal(signal.SIGTERM)
    master = Master()
    yield master
    master.channel.close()
    master.link._channel.close()
    master.listener.close()
    signal.signal(signal.SIGTERM, before)
    asyncio.set_event_loop(None)


def worker(**options: Any) -> Worker:
    return Worker("text://127.0.0.1:0", loop="asyncio", count=2, **options)


def scripted(master: Master, played: Worker, script: Callable[[], Any]) -> int:
    """Serve, with a script that begins with the start hook and goes on beside it."""
    failures: list[BaseException] = []
    tasks: list[asyncio.Task[None]] = []

    async def act() -> None:
        try:
            await script()
        except BaseException as error:
            failures.append(error)
            master.drain(0.0)

    def start(_: Worker) -> None:
        tasks.append(asyncio.get_running_loop().create_task(act()))

    played.on_start(start)
    code = serve(played, master.link)
    if failures:
        raise failures[0]
    return code


def test_a_worker_reports_ready_then_beats_then_leaves(master: Master) -> None:
    played = worker()

    async def script() -> None:
        await master.hears("ready")
        beat = await master.hears("beat")
        assert beat["stats"]["connections"] == 0
        assert beat["stats"]["descriptors"] > 0
        assert played.id == 1
        with pytest.raises(RuntimeError, match="one process only"):
            played.broadcast("x")
        master.drain()

    assert scripted(master, played, script) == 0


def test_orders_are_obeyed(master: Master) -> None:
    played = worker()
    reloaded: list[Worker] = []
    played.on_reload(reloaded.append)

    async def script() -> None:
        await master.hears("ready")
        master.order("quiesce")
        await master.hears("quiesced")
        master.order("resume")
        master.order("reload")
        with socket.create_server(("127.0.0.1", 0)) as sibling:
            sibling.setblocking(False)
            master.order("lend", sibling.fileno(), slot=0)
            _, writer = await asyncio.open_connection(*sibling.getsockname())
            while not played.connections:
                await asyncio.sleep(0.002)
            master.order("return", slot=0)
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with left, right:
            right.setblocking(False)
            master.order("connections", left.fileno())
            rows = await asyncio.get_running_loop().sock_recv(right, 65536)
            assert b'"protocol":"text' in rows
        writer.close()
        master.order("nonsense", 0)
        while played.connections or not reloaded:
            await asyncio.sleep(0.002)
        master.drain()

    assert scripted(master, played, script) == 0
    assert reloaded == [played]


def test_a_start_hook_that_raises_is_reported_with_its_traceback(master: Master) -> None:
    played = worker()

    @played.on_start
    def start(_: Worker) -> None:
        raise ValueError("no database")

    assert serve(played, master.link) == 3
    (failed,) = [m.body for m in master.channel.receive()]
    assert failed["reason"] == "ValueError: no database"
    assert "Traceback" in failed["traceback"]


@pytest.mark.parametrize("how", ["drain", "gone"])
def test_a_stop_does_not_wait_for_a_slow_start_hook(master: Master, how: str) -> None:
    played = worker()
    stopped: list[Worker] = []
    played.on_stop(stopped.append)

    @played.on_start
    async def start(_: Worker) -> None:
        if how == "drain":
            master.drain()
        else:
            master.channel.close()
        await asyncio.sleep(3600)

    assert serve(played, master.link) == 0
    assert stopped == []


def test_a_worker_whose_master_is_gone_ends(master: Master) -> None:
    async def script() -> None:
        await master.hears("ready")
        master.channel.close()

    assert scripted(master, worker(), script) == 0


def test_sigterm_is_a_stop(master: Master) -> None:
    async def script() -> None:
        await master.hears("ready")
        signal.raise_signal(signal.SIGTERM)

    assert scripted(master, worker(), script) == 0


def test_the_deadline_ends_a_process_whose_peers_stay(master: Master) -> None:
    played = worker()

    @played.on_message
    async def busy(conn: Any, text: str) -> None:
        await asyncio.sleep(3600)

    async def script() -> None:
        await master.hears("ready")
        _, writer = await asyncio.open_connection("127.0.0.1", master.port)
        writer.write(b"work\n")
        while not any(conn.stats.messages_in for conn in played.connections.values()):
            await asyncio.sleep(0.002)
        master.drain(0.1)
        await asyncio.sleep(0)
        writer.close()

    assert scripted(master, played, script) == 0
