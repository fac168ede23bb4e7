"""Accepting within bounds, and what happens where no descriptor is left (C-5)."""

# ruff: noqa: ASYNC110  # what is waited for has no event of its own
from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any

import pytest

from longline.worker.listener import Listener


class FaultySocket:
    """A listening socket that fails as often as it is told."""

    def __init__(self, sock: socket.socket) -> None:
        self.real = sock
        self.errors: list[int] = []
        self.accepts = 0

    def fileno(self) -> int:
        return self.real.fileno()

    def accept(self) -> Any:
        self.accepts += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "no")
        return self.real.accept()

    def close(self) -> None:
        self.real.close()


async def _scene(
    errors: list[int], peers: int = 1, *, expected: int = 0, admits: bool = True
) -> tuple[list[socket.socket], FaultySocket, Listener]:
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    faulty = FaultySocket(server)
    faulty.errors = errors
    admitted: list[socket.socket] = []

    def admit(sock: socket.socket) -> bool:
        admitted.append(sock)
        return admits

    listener = Listener(faulty, admit)  # type: ignore[arg-type]
    clients = [socket.create_connection(server.getsockname()) for _ in range(peers)]
    listener.start()
    listener.start()
    async with asyncio.timeout(5):
        while len(admitted) < (expected or peers):
            await asyncio.sleep(0.005)
    for client in clients:
        client.close()
    return admitted, faulty, listener


def _end(admitted: list[socket.socket], listener: Listener) -> None:
    for sock in admitted:
        sock.close()
    listener.close()
    listener.close()


def test_each_peer_is_admitted_once() -> None:
    async def work() -> None:
        admitted, _, listener = await _scene([], peers=5)
        assert len(admitted) == 5
        assert not any(sock.getblocking() for sock in admitted)
        _end(admitted, listener)

    asyncio.run(work())


def test_a_peer_that_is_refused_is_closed() -> None:
    async def work() -> None:
        admitted, _, listener = await _scene([], peers=2, admits=False)
        assert [sock.fileno() for sock in admitted] == [-1, -1]
        _end(admitted, listener)

    asyncio.run(work())


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_c5_without_descriptors_accepting_rests_and_goes_on(
    error: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        admitted, faulty, listener = await _scene([error] * 3, peers=4, expected=3)
        # Two of the errors are of the tries with the reserved descriptor and before it, the
        # third costs one peer its place. No spin: a try, and one more, for each rest.
        assert listener.overloads == 2
        assert faulty.accepts < 10
        _end(admitted, listener)

    with caplog.at_level(logging.ERROR):
        asyncio.run(work())
    assert [record.message for record in caplog.records] == [
        "no descriptor is left: new connections have to wait"
    ]


def test_what_the_network_says_of_a_new_peer_turns_nobody_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        admitted, _, listener = await _scene([errno.EPROTO], peers=1)
        assert len(admitted) == 1
        assert listener.overloads == 0
        _end(admitted, listener)

    asyncio.run(work())
    assert "accepting failed" in caplog.text
    assert "descriptor" not in caplog.text


def test_a_stopped_listener_leaves_the_queue_alone() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            seen: list[socket.socket] = []
            listener = Listener(server, lambda sock: bool(seen.append(sock)))
            listener.start()
            listener.stop()
            listener.stop()
            with socket.create_connection(server.getsockname()):
                for _ in range(10):
                    await asyncio.sleep(0.001)
                assert seen == []
            listener.close()

    asyncio.run(work())
