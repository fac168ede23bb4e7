"""Outgoing connections over TCP and Unix sockets.

They are the same `Connection`s that a Worker accepts, with the same protocols, limits and
callbacks. They belong to a host of their own, since they are nobody's clients.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..address import parse_address
from ..connection import Callbacks, Connection, Host, connection_class
from ..errors import ConfigurationError
from ..limits import Limits

__all__ = ["CONNECT_TIMEOUT", "connect"]

CONNECT_TIMEOUT = 10.0


class _ClientHost(Host):
    """The owner of one outgoing connection, which ends with it."""

    __slots__ = ()

    def closed(self, conn: Connection) -> None:
        super().closed(conn)
        self.loop.call_soon(self.close)


async def connect(
    address: str,
    *,
    timeout: float = CONNECT_TIMEOUT,  # noqa: ASYNC109  # the deadline is what callers ask for
    **options: Any,
) -> Connection:
    """Open a connection to a stream address.

    Args:
        address: `scheme://host:port` or `scheme+unix:///path`, of tcp, text, frame, jsonl or
            a protocol of one's own.
        timeout: Seconds for name look-up and connecting together.
        **options: Handlers and limits, as of a Worker.

    Returns:
        The open connection; `on_connect` has been called.

    Raises:
        AddressError, ConfigurationError: The address or an option cannot be.
        OSError: The peer cannot be reached.
        TimeoutError: It did not answer in time.
    """
    target = parse_address(address)
    if target.scheme in ("http", "websocket") or target.tls or target.transport == "udp":
        raise ConfigurationError(f"{address}: this client speaks plain stream protocols only")
    handlers = {name: options.pop(name) for name in Callbacks.__slots__ if name in options}
    kind, codec = connection_class(target.scheme)
    options.setdefault("idle_timeout", None)
    host = _ClientHost(
        Limits(**options),
        Callbacks(**handlers),
        name=str(target),
        scheme=target.scheme,
        outgoing=True,
    )
    loop = asyncio.get_running_loop()

    def make() -> Connection:
        return kind(host, codec(host.limits))

    try:
        async with asyncio.timeout(timeout):
            if target.transport == "unix":
                _, conn = await loop.create_unix_connection(make, target.path)
            else:
                _, conn = await loop.create_connection(make, target.host, target.port)
    except BaseException:
        host.close()
        raise
    return conn
