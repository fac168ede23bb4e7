"""Longline: supervised processes that hold sockets open, and every protocol on them.

    worker       Worker: what a script declares, and the process that serves it
    connection   one live peer
    protocols    text, frame, jsonl, HTTP, WebSocket, and the contract for one's own
    clients      outgoing connections
    supervisor   the master, its templates, its control socket
    testing      check_codec, for protocols of one's own
    cli          the `longline` command
    launch       run(): where a script becomes a family of processes
    limits       every bound, its default and its reason

Names are loaded when they are first used: the master imports this package, too, and must
stay free of event loops.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import VERSION as __version__

if TYPE_CHECKING:
    from .application import Application, app
    from .clients import connect
    from .compat import from_workerman
    from .connection import Connection, HttpConnection, WebSocketConnection
    from .errors import LonglineError, RemoteProtocolError
    from .launch import run
    from .limits import LIMITS
    from .protocols.codec import Codec, register_protocol
    from .protocols.http import Request, Response
    from .timer import Timer
    from .worker import Room, Worker

__all__ = [
    "LIMITS",
    "Application",
    "Codec",
    "Connection",
    "HttpConnection",
    "LonglineError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Room",
    "Timer",
    "WebSocketConnection",
    "Worker",
    "__version__",
    "app",
    "connect",
    "from_workerman",
    "register_protocol",
    "run",
]

_HOMES = {
    "LIMITS": "limits",
    "Application": "application",
    "Codec": "protocols.codec",
    "Connection": "connection",
    "HttpConnection": "connection",
    "LonglineError": "errors",
    "RemoteProtocolError": "errors",
    "Request": "protocols.http",
    "Response": "protocols.http",
    "Room": "worker",
    "Timer": "timer",
    "WebSocketConnection": "connection",
    "Worker": "worker",
    "app": "application",
    "connect": "clients",
    "from_workerman": "compat",
    "register_protocol": "protocols.codec",
    "run": "launch",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
