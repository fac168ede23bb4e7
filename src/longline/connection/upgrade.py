"""The opening handshake of a WebSocket, seen from the HTTP connection it comes by.

The request is checked, then the origin, then `on_websocket_connect` may refuse: by raising
(500), by returning a Response (sent as it is), by closing the connection it was given (403).
Until the 101 is written the HTTP connection stays the transport's protocol and the request
is one that waits for its answer: its deadline, the order of requests and the peer's leaving
are dealt with there. What is sent on the WebSocket meanwhile is queued behind the 101.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import RemoteProtocolError
from ..protocols.http import Response
from ..protocols.websocket import WebSocket
from ..protocols.websocket.handshake import (
    REFUSAL_HEADERS,
    check_handshake,
    check_origin,
    switching_protocols,
)
from .websocket import WebSocketConnection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from ..protocols.http import Request
    from .host import Host
    from .http import HttpConnection

__all__ = ["Estate", "Opening"]

_PHRASES = {400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed",
            426: "Upgrade Required"}  # fmt: skip


class Estate(NamedTuple):
    """What an HTTP connection leaves to the WebSocket that goes on with its transport."""

    transport: Any
    rest: bytes
    """Bytes that came behind the request."""
    closed_waiters: list[asyncio.Future[None]] | None
    drain_reason: str
    drain_grace: float


class Opening:
    """One handshake under way.

    Args:
        host: The owner of the connection.
        http: The connection the request came by.
        request: The request that asks for an upgrade, or fails to.
    """

    __slots__ = ("_host", "_http", "_key", "_request", "_websocket")

    def __init__(self, host: Host, http: HttpConnection, request: Request) -> None:
        self._host = host
        self._http = http
        self._request = request
        self._key = ""
        self._websocket: WebSocketConnection | None = None

    def begin(self) -> Awaitable[Any] | None:
        """Check the request and ask the application; return what has to be awaited."""
        host, http, request = self._host, self._http, self._request
        try:
            self._key = check_handshake(request)
            origin = request.headers.get("origin")
            if not check_origin(origin, request.host, host.secure, host.origins):
                raise RemoteProtocolError("the origin is not allowed", status=403)
        except RemoteProtocolError as error:
            self._refuse(error)
            return None
        self._websocket = WebSocketConnection(host, WebSocket(host.limits), http, request)
        handler = http.on_websocket_connect
        if handler is None:
            self._switch()
            return None
        return self._ask(handler)

    def peer_gone(self) -> None:
        """Close the WebSocket that was not opened: its peer left, or waited too long."""
        if self._websocket is not None:
            self._websocket._fall_through()

    def _ask(self, handler: Any) -> Awaitable[Any] | None:
        try:
            answer = handler(self._websocket, self._request)
            if hasattr(type(answer), "__await__"):
                return self._ask_later(answer)
            self._settle(answer)
        except BaseException as error:
            self.peer_gone()
            self._http._failed(error)
        return None

    async def _ask_later(self, work: Awaitable[Any]) -> None:
        # What is raised here is the HTTP connection's to answer: its Task awaits us.
        try:
            self._settle(await work)
        except BaseException:
            self.peer_gone()
            raise

    def _settle(self, answer: Any) -> None:
        """Accept or refuse, by what the application said."""
        http, websocket = self._http, self._websocket
        if http.state != "open" or websocket is None:
            return
        if isinstance(answer, Response):
            self.peer_gone()
            http.send(answer)
        elif websocket.state != "open":
            self._refuse(RemoteProtocolError("the application refused", status=403))
        elif answer is None or isinstance(answer, bool):
            self._switch()
        else:
            raise TypeError(f"on_websocket_connect returned {type(answer).__name__}")

    def _refuse(self, error: RemoteProtocolError) -> None:
        self.peer_gone()
        status = error.status if error.status in _PHRASES else 400
        fields = dict(REFUSAL_HEADERS.get(status, ()))
        names = [fields.pop("Connection", ""), "close"]
        fields["Connection"] = ", ".join(filter(None, names))
        # The fields that a 426 must have are not an application's to set, hence no Response.
        lines = [f"HTTP/1.1 {status} {_PHRASES[status]}", "Content-Length: 0"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self._http._refuse_opening(error, "\r\n".join([*lines, "", ""]).encode("ascii"))

    def _switch(self) -> None:
        """Write the 101 and hand the transport over."""
        http, websocket = self._http, self._websocket
        if websocket is None:
            return
        head = switching_protocols(self._key, websocket.subprotocol, websocket.extra_headers)
        estate = http._retire()
        self._host.replaced(http, websocket)
        websocket._open(estate, head)
        # A chat of hours needs no second form of its handshake's head.
        self._request.compact()
        if estate.drain_reason:
            websocket.drain_out(estate.drain_reason, estate.drain_grace)
