"""One HTTP/1.1 peer: requests in, answers out, a deadline for every phase.

The codec hands out one request and keeps what follows until the answer is encoded, so the
order needs no further care. An answer is what a handler returns, or what is given to
`send` at any time later (a deferred answer, until `response_timeout`).

    phase of the codec   deadline             when it passes
    IDLE, nothing yet    first_byte_timeout   close
    HEAD                 head_timeout         408, close
    BODY                 min_body_rate        408, close
    ANSWERING            response_timeout     503, close
    IDLE                 idle_timeout         close

What follows a request that waits for its answer is kept, and reading stops behind
`READ_AHEAD_BYTES` of it.

After the last answer the connection lingers (`end`), so that unread input cannot destroy it.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

from .._core._states import CLOSED, HOLD_FILE, HOLD_SHUT
from ..errors import IncompleteError, LocalProtocolError, RemoteProtocolError
from ..protocols.http import Phase, Response
from .deadline import NEVER
from .file import SMALL_BYTES, FileSource, open_regular
from .tcp import Connection
from .upgrade import Estate, Opening

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..protocols.codec import Codec
    from ..protocols.http import Request
    from .host import Host

__all__ = ["HttpConnection"]

_IDLE, _HEAD, _BODY, _ANSWERING, _DONE = Phase


class HttpConnection(Connection):
    """One HTTP peer; its messages are `Request`s.

    Sends `Response`, text (as HTML), bytes, and dict or list as JSON.
    """

    __slots__ = ("_due", "_file", "_file_then", "_opening", "_seen", "_since", "_window_body")

    turnwise: ClassVar[bool] = True

    BODY_WINDOW: ClassVar[float] = 10.0
    """Seconds over which a body's progress is measured."""

    def __init__(self, host: Host, codec: Codec) -> None:
        super().__init__(host, codec)
        # The codec may hold the next request already while the handler of the last one, which
        # it has answered, is still at work: that must not answer the next one, too.
        self._due = False
        self._since = 0.0
        self._seen = _IDLE
        self._window_body = 0
        self._file: FileSource | None = None
        self._file_then = ""
        self._opening: Opening | None = None

    @property
    def request(self) -> Request | None:
        """The request that waits for its answer."""
        request: Request | None = self._codec.current
        return request if self._due else None

    # Requests

    def data_received(self, data: bytes) -> None:
        """Take what the transport read; start the clock of an unfinished request."""
        super().data_received(data)
        if self._codec.phase is not _IDLE and not self._state:
            self._follow(self.last_read)
            if self._codec.phase is _ANSWERING:
                # A deferred answer holds nothing back but the codec.
                self._bound_read_ahead()

    def _pump(self) -> None:
        super()._pump()
        if not self._state and self._codec.phase is not _IDLE:
            self._follow(self._host.now())

    def _wants_more(self) -> bool:
        return self._codec.phase is not _ANSWERING

    def _deliver(self, event: Request) -> Awaitable[Any] | None:
        host = self._host
        event.connection = self
        self._due = True
        self._seen = _ANSWERING
        self._since = now = host.now()
        self._codec.date = host.date(now)
        if host.websocket_enabled and (host.websocket_only or event.upgrade is not None):
            self._opening = Opening(host, self, event)
            return self._opening.begin()
        handler = self._callbacks.on_message
        if handler is None:
            self.send(Response(status=404))
            return None
        return self._call(handler, event)

    def _announce(self) -> None:
        # A websocket:// Worker learns of a peer when the handshake is over.
        if not self._host.websocket_only:
            super()._announce()

    def _farewell(self) -> None:
        if self._opening is not None:
            self._opening.peer_gone()
        if not self._host.websocket_only:
            super()._farewell()

    # Answers

    def send(self, message: Any) -> bool:
        """Answer the current request; see `Connection.send`.

        Raises:
            LocalProtocolError: No request waits for an answer; nothing was written.
            TypeError: No answer can be made of the message.
        """
        if get_ident() != self._host.thread:
            return bool(self._hop(self.send, message))
        if self._state:
            return self._unsent()
        if self._file is not None:
            raise LocalProtocolError("the answer is a file that is not sent yet")
        if not self._due:
            raise LocalProtocolError("no request waits for an answer")
        if isinstance(message, Response) and message.file_path is not None:
            return self._send_file(message)
        codec = self._codec
        alone = not self._batching
        if alone:
            codec.date = self._host.date(self._host.now())
        if not self._put(codec.encode(message)):
            return False
        if self._queued >= self._room:
            # Pipelined answers must meet back-pressure, not each other at the send limit.
            self._flush()
        if codec.current is None:
            self._answered(alone)
        elif alone:
            # An interim answer goes out at once, and the one behind it is alone again.
            self._flush()
        return True

    def _answered(self, alone: bool) -> None:
        """Go on after an answer: with the next request, or to the end."""
        self._seen = _IDLE
        self._due = False
        if self._codec.phase is _DONE:
            self._finish(self._drain_reason or "closed")
        elif alone or self._read_hold:
            self._since = self._host.now()
            if self._codec.buffered or self._eof:
                self._host.loop.call_soon(self._pump)

    def _failed(self, error: BaseException) -> None:
        # Request.query, .json and .text raise what is the peer's fault.
        if isinstance(error, RemoteProtocolError) and self._due:
            if not self._state:
                self._refuse_now(error)
            return
        super()._failed(error)

    def _break(self, error: BaseException | None = None) -> None:
        if self._file is not None:
            # A valid end would make half a file look like a whole one.
            self._give_up("handler_error")
            return
        self._end_with(500, "handler_error")

    def _end_with(self, status: int, reason: str) -> None:
        """Answer what is unanswered with an error, and close."""
        self._codec.date = self._host.date(self._host.now())
        last = self._codec.fail(RemoteProtocolError(reason, status=status))
        if last:
            self._put(last)
        self._finish(reason)

    def _refuse(self, error: RemoteProtocolError) -> None:
        if isinstance(error, IncompleteError):
            self._shut("incomplete")
        else:
            self._refuse_now(error)

    def _refuse_now(self, error: RemoteProtocolError) -> None:
        self._codec.date = self._host.date(self._host.now())
        super()._refuse_now(error)

    # Closing

    def close(self, data: Any = None) -> None:
        """Answer with `data` if given, then close behind what was sent, a file included."""
        self.end(data)

    def end(self, data: Any = None) -> None:
        """As `close`."""
        if get_ident() != self._host.thread:
            self._hop(self.end, data)
            return
        if data is not None and not self._state:
            self.send(data)
        if self._file is not None:
            self._file_then = "closed"
        else:
            self._finish("closed")

    def _ended(self) -> None:
        if self._codec.phase is not _ANSWERING and self._file is None:
            super()._ended()

    def _begin_drain(self) -> None:
        self._codec.draining = True

    def _quiet(self) -> bool:
        return self._codec.phase is _IDLE and super()._quiet()

    # Files

    def _send_file(self, response: Response) -> bool:
        codec = self._codec
        source = open_regular(response.file_path)
        if source is None:
            return self.send(Response("", 404))
        try:
            whole = codec.response_has_body(response)
            codec.date = self._host.date(self._host.now())
            head = codec.encode_file_head(response, source.size)
            small = source.read_now() if whole and source.size <= SMALL_BYTES else b""
        except OSError:
            source.close()
            self._give_up("file_error")
            return False
        except Exception:
            source.close()
            raise
        if not whole or (small and len(small) == source.size) or not source.size:
            alone = not self._batching
            source.close()
            accepted = self._put(head + small)
            self._answered(alone)
            return accepted
        if not self._put(head):
            source.close()
            return False
        self._begin_file(source)
        return True

    def _begin_file(self, source: FileSource) -> None:
        self._file = source
        self._hold |= HOLD_FILE
        self._host.spawn(self._stream_file(source), self)

    async def _stream_file(self, source: FileSource) -> None:
        """Send a file in pieces, each when there is room for it."""
        try:
            while source.offset < source.size:
                piece = await source.read_piece()
                if self._state:
                    return
                if not piece:
                    # The head has announced more: only a broken end tells the client.
                    self._give_up("file_shrunk")
                    return
                self._out.append(piece)
                self._queued += len(piece)
                await self.drain()
        except OSError:
            self._give_up("file_error")
        finally:
            source.close()
            self._file = None
        if not self._state:
            self._file_sent()

    def _file_sent(self) -> None:
        if self._file_then:
            self._finish(self._file_then)
            return
        self._hold &= ~HOLD_FILE
        self._answered(alone=True)
        if not self._state:
            self._host.loop.call_soon(self._pump)

    # Deadlines

    def _follow(self, now: float) -> None:
        """Start the clock of the phase that a request is in, unless it runs."""
        phase = self._codec.phase
        limits = self._host.limits
        if phase is _BODY:
            invitation = self._codec.take_continue()
            if invitation:
                self._out.append(invitation)
                self._queued += len(invitation)
                self._flush()
        if phase is _ANSWERING:
            patience = limits.response_timeout
            if self._seen is not _ANSWERING:
                self._since = now
        elif phase is self._seen:
            return
        else:
            patience = limits.head_timeout if phase is _HEAD else self.BODY_WINDOW
            self._since = now
            self._window_body = self._codec.body_received
        self._seen = phase
        if patience is not None:
            self._host.wheel.arm(self, now + patience)

    def _first_deadline(self, now: float) -> float:
        limits = self._host.limits
        waits = [limits.first_byte_timeout, limits.idle_timeout]
        return min((now + wait for wait in waits if wait is not None), default=NEVER)

    def _quiet_deadline(self, now: float) -> float:
        following = self._phase_deadline(now)
        idle = self._host.limits.idle_timeout
        # The phase may be over long before its own deadline.
        return following if idle is None else min(following, now + float(idle))

    def _phase_deadline(self, now: float) -> float:
        phase = self._codec.phase
        if self._file is not None:
            return NEVER
        if phase is _ANSWERING:
            return self._answer_deadline(now)
        if self._read_hold and phase is not _IDLE:
            # We do not listen, so the peer cannot be late.
            self._since = now
        if phase is _HEAD:
            return self._head_deadline(now)
        if phase is _BODY:
            return self._body_deadline(now)
        return self._idle_deadline(now)

    def _answer_deadline(self, now: float) -> float:
        patience = self._host.limits.response_timeout
        if patience is None:
            return NEVER
        due = self._since + float(patience)
        if now >= due:
            self._host.report.unanswered(self)
            if self._opening is not None:
                self._opening.peer_gone()
            self._end_with(503, "response_timeout")
        return due

    def _head_deadline(self, now: float) -> float:
        patience = self._host.limits.head_timeout
        if patience is None:
            return NEVER
        due = self._since + float(patience)
        if now >= due:
            self._host.report.timeout(self, "head_timeout")
            self._end_with(408, "head_timeout")
        return due

    def _body_deadline(self, now: float) -> float:
        rate = self._host.limits.min_body_rate
        if rate is None:
            return NEVER
        if now >= self._since + self.BODY_WINDOW:
            received = self._codec.body_received
            if received - self._window_body < rate * (now - self._since):
                self._host.report.timeout(self, "body_timeout")
                self._end_with(408, "body_timeout")
                return NEVER
            self._since, self._window_body = now, received
        return self._since + self.BODY_WINDOW

    def _idle_deadline(self, now: float) -> float:
        limits = self._host.limits
        if not self.bytes_read:
            first = limits.first_byte_timeout
            if first is None:
                return NEVER
            due = self.opened_at + float(first)
            if now >= due:
                self._shut("first_byte_timeout")
            return due
        if limits.idle_timeout is None:
            return NEVER
        if self._transport.get_write_buffer_size():
            # The answer is still on its way; the deadline of writing counts.
            self._since = now
        due = max(self.last_read, self._since) + float(limits.idle_timeout)
        if now >= due:
            self._finish("idle")
        return due

    # Leaving HTTP

    def _refuse_opening(self, error: RemoteProtocolError, answer: bytes) -> None:
        """Send the answer that refuses a handshake, and end."""
        self._codec.fail(error)
        self._host.report.refusal(self, "handshake", error)
        self._put(answer)
        self._finish("handshake")

    def _retire(self) -> Estate:
        """Hand everything over to the next protocol; closed without an `on_close`."""
        rest = self._codec.upgrade()
        self._flush()
        self._host.wheel.remove(self)
        self._state = CLOSED
        self._hold |= HOLD_SHUT
        # Whether the transport is read is no longer said here.
        self._read_hold = 0
        self._opening = None
        waiters = self._take_closed_waiters()
        return Estate(self._transport, rest, waiters, self._drain_reason, self._drain_grace)
