"""The rows of the `connections` command, written by each worker process itself.

The asking side passes a datagram socket down. Rows leave in packets that fit into one
datagram, a slice at a time, so that neither ten thousand connections nor a slow reader hold
up the loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from ..connection import HttpConnection, WebSocketConnection, live_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..connection import Connection, Host

__all__ = ["write_rows"]

ROWS_PER_PACKET = 64
PATIENCE = 2.0
"""Seconds that the reading side may take for one packet."""


async def write_rows(fd: int) -> None:
    """Write a row for every connection of this process to the datagram socket `fd`; close it."""
    loop = asyncio.get_running_loop()
    try:
        rows_to = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return
    with rows_to as sock:
        sock.setblocking(False)
        try:
            for packet in _packets(loop.time()):
                await asyncio.wait_for(_send(sock, packet), PATIENCE)
        except (OSError, TimeoutError):
            # Whoever asked has gone; there is nobody to tell.
            return


async def _send(sock: socket.socket, packet: bytes) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock.send(packet)
        except BlockingIOError:
            writable = loop.create_future()
            loop.add_writer(sock.fileno(), _wake, writable)
            try:
                await writable
            finally:
                loop.remove_writer(sock.fileno())
        else:
            await asyncio.sleep(0)
            return


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _packets(now: float) -> Iterator[bytes]:
    pid = os.getpid()
    rows: list[dict[str, Any]] = []
    for host in live_hosts():
        for conn in list(host.connections.values()):
            rows.append(_row(conn, host, pid, now))
            if len(rows) == ROWS_PER_PACKET:
                yield _pack(pid, rows, last=False)
                rows = []
    yield _pack(pid, rows, last=True)


def _pack(pid: int, rows: list[dict[str, Any]], *, last: bool) -> bytes:
    return json.dumps({"pid": pid, "rows": rows, "last": last}, separators=(",", ":")).encode()


def _row(conn: Connection, host: Host, pid: int, now: float) -> dict[str, Any]:
    return {
        "pid": pid,
        "worker": host.name,
        "id": conn.id,
        "transport": conn.transport_name,
        "protocol": _protocol(conn, host),
        "receive_queue": conn.receive_queue,
        "send_queue": conn.send_queue,
        "bytes_received": conn.bytes_read,
        "bytes_sent": conn.bytes_written,
        "state": conn.state,
        "local": conn.local,
        "remote": conn.remote,
        "age": round(now - conn.stats.opened_at, 3),
        "direction": "out" if host.outgoing else "in",
    }


def _protocol(conn: Connection, host: Host) -> str:
    """Return the scheme that the connection speaks now: an upgrade changes it."""
    if isinstance(conn, WebSocketConnection):
        return "websocket"
    return "http" if isinstance(conn, HttpConnection) else host.scheme
