"""Outgoing connections."""

# ruff: noqa: ASYNC110  # what is waited for has no event of its own
from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from longline import Worker, connect
from longline.connection import live_hosts
from longline.errors import ConfigurationError
from longline.loop import new_event_loop


def outgoing() -> list[Any]:
    """The outgoing connections of this process."""
    hosts = [host for host in live_hosts() if host.outgoing]
    return [conn for host in hosts for conn in host.connections.values()]


def run(work: Any) -> None:
    loop = new_event_loop("asyncio")
    try:
        loop.run_until_complete(asyncio.wait_for(work, 20))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_a_client_has_the_callbacks_and_the_protocol_of_a_worker() -> None:
    worker = Worker("text://127.0.0.1:0")
    worker.on_message(lambda conn, text: text.upper())

    async def work() -> None:
        seen: list[Any] = []
        async with worker.serving():
            conn = await connect(
                f"text://127.0.0.1:{worker.ports[0]}",
                on_connect=lambda conn: seen.append("connect"),
                on_message=lambda conn, text: seen.append(text),
                on_close=lambda conn: seen.append("close"),
            )
            assert outgoing() == [conn]
            conn.send("hello")
            while "HELLO" not in seen:
                await asyncio.sleep(0.001)
            conn.close()
            await conn.wait_closed()
            while outgoing():
                await asyncio.sleep(0.001)
        assert seen == ["connect", "HELLO", "close"]

    run(work())


def test_a_peer_that_refuses_is_an_os_error() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        async def work() -> None:
            with pytest.raises(ConnectionRefusedError):
                await connect(f"tcp://127.0.0.1:{port}")
            assert outgoing() == []

        run(work())


def test_c10_a_peer_that_does_not_answer_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.sleep(3600)

    async def work() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
        with pytest.raises(TimeoutError):
            await connect("tcp://192.0.2.1:9", timeout=0.01)

    run(work())


@pytest.mark.parametrize(
    ("address", "options"),
    [("http://127.0.0.1:1", {}), ("tls://127.0.0.1:1", {}), ("udp://127.0.0.1:1", {}),
     ("tcp://127.0.0.1:1", {"max_pending": 0}), ("tcp://127.0.0.1:1", {"nonsense": 1})],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_opened(
    address: str, options: dict[str, Any]
) -> None:
    async def work() -> None:
        with pytest.raises(ConfigurationError):
            await connect(address, **options)

    run(work())
