"""One live peer: its order, its back-pressure, its deadlines, its end.

    tcp.py        Connection: life and death of a peer on a byte stream
    http.py       HttpConnection: requests and answers, a deadline for each phase
    upgrade.py    from HTTP to WebSocket
    websocket.py  WebSocketConnection: close handshake, heartbeat, floods

    dispatch.py   the order of handlers, Tasks and threads        (read first)
    flow.py       back-pressure, the send limit, stalled peers
    identity.py   number, addresses, counters, handlers, data
    pipe.py       one connection's input is another one's output
    file.py       files as answers

    host.py       Host: what a connection needs of its owner
    callbacks.py  Callbacks: the handlers
    deadline.py   DeadlineWheel: one timer for all deadlines
    report.py     log lines, so many a minute

`Connection` is `Stream` (`longline._core`, the hot path) + `Dispatch` + `Flow` + `Identity`
+ its own life: each layer fills in what the one below leaves open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocols import codec_factory
from .callbacks import CALLBACKS, Callbacks
from .deadline import DeadlineWheel
from .host import Host, HostStats, live_hosts
from .http import HttpConnection
from .identity import ConnectionStats
from .tcp import Connection
from .websocket import WebSocketConnection

if TYPE_CHECKING:
    from ..protocols.codec import CodecFactory

__all__ = [
    "CALLBACKS",
    "Callbacks",
    "Connection",
    "ConnectionStats",
    "DeadlineWheel",
    "Host",
    "HostStats",
    "HttpConnection",
    "WebSocketConnection",
    "connection_class",
    "live_hosts",
]


def connection_class(scheme: str) -> tuple[type[Connection], CodecFactory]:
    """Return what makes the connections of a scheme: their class, and their codecs' factory.

    `class_(host, factory(limits))` is a protocol for the loop's `create_server`. A websocket
    connection begins as HTTP, with `Host.websocket_only` set.

    Raises:
        ConfigurationError: No protocol has that name.
    """
    if scheme in ("http", "websocket"):
        return HttpConnection, codec_factory("http")
    return Connection, codec_factory(scheme)
