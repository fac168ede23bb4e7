"""One WebSocket peer, from the 101 to the last FIN (RFC 6455).

    handshake   no transport yet: `send` queues, `close` refuses (upgrade.py)
    open        messages, pings, pongs
    closing     our close frame is on its way; we read on until the peer's (`close_timeout`)
    ending      both close frames were sent: FIN, and discard until the peer's FIN
                (RFC 6455 section 7.1.1: the server closes first)
    closed      `on_websocket_close`, if it was not called before, then `on_close`

A silent peer is pinged after `ping_interval` and given `ping_timeout`. That clock stands
while we do not read, and is extended when our own loop was late.
"""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from .._core._states import CLOSED, CLOSING, ENDING, OPEN
from ..errors import RemoteProtocolError
from ..protocols.websocket import Closed, Ping
from .deadline import NEVER
from .tcp import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..protocols.http import Request
    from ..protocols.websocket import WebSocket
    from .host import Host
    from .http import HttpConnection
    from .upgrade import Estate

__all__ = ["WebSocketConnection"]

FLOOD_CONTROLS = 100
"""Control frames without data progress that a peer may send in one `FLOOD_WINDOW`."""

FLOOD_WINDOW = 10.0

NO_CLOSE_FRAME = 1006
"""What `on_websocket_close` is told when the peer left without one (RFC 6455 7.1.5)."""


class _Step:
    """A handler of the opening that takes its place in the order, before any message."""

    __slots__ = ("with_request", "name")  # noqa: RUF023 - as the arguments

    def __init__(self, name: str, with_request: bool) -> None:
        self.name = name
        self.with_request = with_request


_CONNECTED = _Step("on_websocket_connected", True)
_CONNECT = _Step("on_connect", False)


class WebSocketConnection(Connection):
    """One WebSocket peer; its messages are `str` and `bytes`.

    Args:
        host: The owner.
        codec: The conversation.
        http: The connection that the handshake came by: id, data and handlers are taken over.
        request: The request of the handshake.
    """

    __slots__ = (
        "_flood_at",
        "_flood_base",
        "_message_at",
        "_message_mark",
        "_pinged_at",
        "_respite",
        "_told",
        "extra_headers",
        "request",
        "subprotocol",
    )

    def __init__(
        self, host: Host, codec: WebSocket, http: HttpConnection, request: Request
    ) -> None:
        super().__init__(host, codec)
        self._inherit(http._heritage())
        self.request: Request = request
        """The request of the handshake."""
        self.extra_headers: list[tuple[str, str]] = []
        """Header fields for the 101; for `on_websocket_connect` to fill."""
        self.subprotocol: str | None = None
        """The sub-protocol to accept, one that the client offered; likewise."""
        self._pinged_at = 0.0
        self._respite = False
        self._message_at = 0.0
        self._message_mark = -1
        self._flood_at = 0.0
        self._flood_base = 0
        self._told = False

    # What applications call

    def send(self, message: Any) -> bool:
        """Queue a message: `str` as text, bytes-like as binary, dict and list as JSON text.

        During `on_websocket_connect` it is queued behind the 101. See `Connection.send`.
        """
        if get_ident() == self._host.thread and self._codec.close_sent:
            return self._unsent()
        return super().send(message)

    def close(self, data: Any = None, *, code: int = 1000, reason: str = "") -> None:
        """Send a last message if given, and begin the close handshake.

        In `on_websocket_connect` it refuses the handshake. The connection is aborted when the
        peer does not answer within `close_timeout`.

        Args:
            data: A last message.
            code: The close code (RFC 6455 section 7.4).
            reason: At most 123 bytes as UTF-8.

        Raises:
            ValueError: The code must not be sent, or the reason is too long.
        """
        if get_ident() != self._host.thread:
            self._hop(partial(self.close, data, code=code, reason=reason))
            return
        if self._state:
            return
        if self._transport is None:
            self._state = CLOSING
            return
        if data is not None:
            self.send(data)
        self._close_with(code, reason, "closed")

    def end(self, data: Any = None) -> None:
        """As `close`: the close handshake loses nothing."""
        self.close(data)

    def abort(self) -> None:
        """Close at once, without a close frame; in `on_websocket_connect` it refuses."""
        if self._transport is None:
            self._state = self._state or CLOSING
        else:
            super().abort()

    def ping(self, payload: bytes = b"") -> bool:
        """Ping the peer; its answer comes as `on_websocket_pong`.

        Returns:
            As `send`.

        Raises:
            LocalProtocolError: The payload has more than 125 bytes.
        """
        if get_ident() != self._host.thread:
            return bool(self._hop(self.ping, payload))
        if self._state or self._codec.close_sent:
            return self._unsent()
        return self._put(self._codec.ping(payload))

    # Opening

    def _fall_through(self) -> None:
        """Count as closed: the handshake failed, so nobody is told."""
        self._state = CLOSED

    def _open(self, estate: Estate, head: bytes) -> None:
        """Take the transport over and write the 101; called by the handshake."""
        host = self._host
        transport = estate.transport
        self._closed_waiters = estate.closed_waiters
        # Else the request would keep the HTTP connection and its codec alive.
        self.request.connection = self
        self._transport = transport
        self._out.insert(0, head)
        self._queued += len(head)
        transport.set_protocol(self)
        if self._read_hold:
            # `on_websocket_connect` asked for a pause.
            transport.pause_reading()
        else:
            transport.resume_reading()
        self._wrote_at = host.now()
        self._heard(self._wrote_at)
        host.wheel.arm(self, self._first_deadline(self.last_read))
        # A websocket:// Worker hears of its peer now; an http:// one did at the accept.
        self._store([_CONNECTED, _CONNECT] if host.websocket_only else [_CONNECTED])
        self._pump()
        # Whoever is paused by now is not pumped; the 101 goes out all the same.
        self._flush()
        if estate.rest:
            self.data_received(estate.rest)

    def _first_deadline(self, now: float) -> float:
        waits = (self._host.limits.ping_interval, self._idle_timeout())
        return min((now + wait for wait in waits if wait is not None), default=NEVER)

    def _idle_timeout(self) -> float | None:
        """The idle_timeout of an http:// Worker is one between requests, and not for us."""
        host = self._host
        return host.limits.idle_timeout if host.websocket_only else None

    # Events

    def data_received(self, data: bytes) -> None:
        """Take what the transport read; answer control frames."""
        super().data_received(data)
        if not self._state:
            self._after_read()

    def _deliver(self, event: Any) -> Awaitable[Any] | None:
        kind = type(event)
        callbacks = self._callbacks
        if kind is str or kind is bytes:
            handler = callbacks.on_websocket_message
            if handler is None and self._host.websocket_only:
                handler = callbacks.on_message
            if handler is not None:
                return self._call(handler, event)
            self._count_message()
            return None
        if kind is Closed:
            self._peer_closed(event)
            return None
        if kind is _Step:
            handler = getattr(callbacks, event.name)
            arguments = (self.request,) if event.with_request else ()
        else:
            handler = callbacks.on_websocket_ping if kind is Ping else callbacks.on_websocket_pong
            arguments = (event.payload,)
        return None if handler is None else self._invoke(handler, *arguments)

    def _refill(self) -> bool:
        more = super()._refill()
        if not self._state:
            self._after_read()
        return more and not self._state

    def _after_read(self) -> None:
        """Send what the codec has to say, and look at the bounds that need a clock."""
        codec = self._codec
        # The echo of a close frame waits until what came before the frame has been answered
        # (RFC 6455 section 5.5.1 allows that).
        if not self._choked and not codec.close_received:
            self._say(codec.outgoing())
        if codec.message_open:
            self._watch_message()
        else:
            self._message_at = 0.0
        if codec.controls_since_data > FLOOD_CONTROLS:
            self._watch_flood(codec.controls_since_data)

    def _say(self, frames: bytes) -> None:
        if frames:
            self._out.append(frames)
            self._queued += len(frames)
            self._flush()

    def resume_writing(self) -> None:
        """Take the transport's word that there is room; pongs that were held back go out."""
        super().resume_writing()
        if not self._state:
            self._say(self._codec.outgoing())

    def eof_received(self) -> bool:
        """Take the end of the stream: a WebSocket has no half-closed state."""
        if not self._state and (self._hold or self._running):
            self._eof = True
            self._shut("peer")
        return super().eof_received()

    # Closing

    def _close_with(self, code: int, reason: str, why: str) -> None:
        """Begin the close handshake."""
        if self._state:
            return
        frame = self._codec.close(code, reason)
        if not frame:
            # The peer's close frame is here already, behind what it sent before.
            self._note(why)
            self._peer_closed(Closed(self._codec.close_code, self._codec.close_reason))
            return
        self._out.append(frame)
        self._queued += len(frame)
        self._leave(why, CLOSING)
        if self._read_hold:
            self._read_hold = 0
            self._transport.resume_reading()
        # The peer's close frame may wait in the codec, behind messages.
        self._discard(b"")

    def _peer_closed(self, closed: Any) -> None:
        """Echo the peer's close frame, or take its echo, and end the connection."""
        self._tell_closed(closed.code, closed.reason)
        self._say(self._codec.outgoing())
        self._end_stream("peer")

    def _end_stream(self, reason: str) -> None:
        if self._state not in (CLOSED, ENDING):
            self._state = OPEN
            self._finish(reason)

    def _tell_closed(self, code: int, reason: str) -> None:
        if not self._told:
            self._told = True
            self._notify(self.on_websocket_close, code, reason)

    def _farewell(self) -> None:
        codec = self._codec
        code = codec.close_code
        self._tell_closed(NO_CLOSE_FRAME if code is None else code, codec.close_reason)
        super()._farewell()

    def _discard(self, data: bytes) -> None:
        if self._state != CLOSING:
            return
        try:
            events = self._codec.feed(data)
            while events:
                for event in events:
                    if type(event) is Closed:
                        self._peer_closed(event)
                        return
                events = self._codec.feed(b"")
        except RemoteProtocolError:
            self._end_stream("protocol_error")

    def _break(self, error: BaseException | None = None) -> None:
        self._close_with(1011, "", "handler_error")

    def _refuse(self, error: RemoteProtocolError) -> None:
        self._refuse_now(error)

    def _begin_drain(self) -> None:
        self._close_with(1012 if self._drain_reason == "reload" else 1001, "", self._drain_reason)

    def _give_up(self, reason: str) -> None:
        if self._transport is None:
            self._state = self._state or CLOSING
        else:
            super()._give_up(reason)

    # Deadlines

    def _quiet_deadline(self, now: float) -> float:
        following = NEVER
        for deadline in (self._silent_deadline, self._heartbeat, self._message_deadline):
            if not self._state:
                following = min(following, deadline(now))
        return following

    def _silent_deadline(self, now: float) -> float:
        idle = self._idle_timeout()
        if idle is None:
            return NEVER
        if self._running or self._read_hold:
            return now + float(idle)
        due = self.last_read + float(idle)
        if now >= due:
            self._close_with(1000, "idle", "idle")
        return due

    def _heartbeat(self, now: float) -> float:
        interval = self._host.limits.ping_interval
        patience = self._host.limits.ping_timeout
        if interval is None:
            return NEVER
        if self._read_hold:
            # While we do not listen, its answer cannot reach us.
            self._pinged_at = 0.0
            return now + float(interval)
        if self._pinged_at and self.last_read < self._pinged_at:
            if patience is None:
                return NEVER if now < self._pinged_at else now + float(interval)
            return self._pong_deadline(now, float(interval), patience)
        self._pinged_at = 0.0
        due = self.last_read + float(interval)
        if now < due:
            return due
        self._respite = False
        self._say(self._codec.ping(b""))
        self._pinged_at = now
        # A pong that comes soon must not put the next ping off until the patience is over.
        return now + float(interval if patience is None else min(interval, patience))

    def _pong_deadline(self, now: float, interval: float, patience: float) -> float:
        due = self._pinged_at + patience
        if now < due:
            return min(due, now + interval)
        if not self._respite:
            # The pong may lie unread in the socket: timers can come before reads in a turn
            # of the loop, and a loop that was blocked owes the peer the time it lost.
            self._respite = True
            lag = self._host.wheel.lag
            extra = lag if lag > patience / 2 else 2 * self._host.wheel.resolution
            return float(now + extra)
        self._host.report.timeout(self, "heartbeat")
        self._give_up("heartbeat")
        return NEVER

    def _watch_message(self) -> None:
        """Start the clock of an unfinished message, unless it is the same as before."""
        if self._message_at and self._message_mark == self.messages_in:
            return
        self._message_at = self.last_read
        self._message_mark = self.messages_in
        patience = self._host.limits.fragment_timeout
        if patience is not None:
            self._host.wheel.arm(self, self._message_at + patience)

    def _message_deadline(self, now: float) -> float:
        patience = self._host.limits.fragment_timeout
        if patience is None or not self._message_at:
            return NEVER
        if self._read_hold or self._running:
            self._message_at = now
        due = self._message_at + patience
        if now >= due:
            self._close_with(1008, "unfinished message", "fragment_timeout")
        return float(due)

    def _watch_flood(self, controls: int) -> None:
        now = self.last_read
        if controls < self._flood_base or now - self._flood_at > FLOOD_WINDOW:
            fresh = controls < self._flood_base or not self._flood_at
            self._flood_base = 0 if fresh else controls
            self._flood_at = now
        if controls - self._flood_base > FLOOD_CONTROLS:
            self._close_with(1008, "too many control frames", "control_flood")
