"""One live peer on a byte stream: the life of a connection.

    open ----- close() ------> closing: what was sent is flushed, then the socket closes
      |                           |
      +------- end() ---------> ending: flushed, FIN; input is discarded until the peer's FIN
      |                           |
      +-- abort(), the peer ------+--> closed: on_close, exactly once

Both ways of closing are bounded by `close_timeout` without progress, then the connection is
aborted. `end` is for last answers to a peer that may still be sending: closing a socket with
unread input makes the kernel send a reset, which destroys the answer on its way.

The order of events is in dispatch.py, back-pressure in flow.py, addresses and counters in
identity.py, the clock in deadline.py.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from .._core._states import CLOSED, CLOSING, ENDING, HOLD_SHUT
from ..errors import IncompleteError, OversizeError, RemoteProtocolError
from .deadline import NEVER
from .identity import Identity
from .pipe import Pipe

if TYPE_CHECKING:
    import asyncio

    from ..protocols.codec import Codec
    from .host import Host

__all__ = ["Connection"]

DRAIN_LOOK = 0.2
"""Seconds between two looks at a busy connection that is to be drained."""


class Connection(Identity):
    """One live peer; made by listeners and clients, handed to every handler.

    Args:
        host: The owner.
        codec: The protocol, made for this connection alone.
    """

    __slots__ = (
        "_close_at",
        "_closed_waiters",
        "_drain_at",
        "_drain_grace",
        "_drain_reason",
        "_eof_told",
        "_wrote",
        "_wrote_at",
    )

    def __init__(self, host: Host, codec: Codec) -> None:
        super().__init__(host, codec)
        self._close_at = NEVER
        self._closed_waiters: list[asyncio.Future[None]] | None = None
        self._eof_told = False
        self._drain_reason = ""
        self._drain_grace = 0.0
        self._drain_at = 0.0
        self._wrote = 0
        self._wrote_at = 0.0

    # What applications call

    def close(self, data: Any = None) -> None:
        """Send a last message if given, flush, close; aborted when the peer takes nothing.

        Does nothing when the connection is closing already. Messages that were received but
        not delivered are dropped.

        Raises:
            TypeError, LocalProtocolError: As `send`; the connection stays open.
        """
        if get_ident() != self._host.thread:
            self._hop(self.close, data)
        elif not self._state:
            if data is not None:
                self.send(data)
            self._shut("closed")

    def end(self, data: Any = None) -> None:
        """Send a last message if given, then FIN, and discard input until the peer's FIN.

        For last words to a peer that may still be sending; otherwise as `close`.
        """
        if get_ident() != self._host.thread:
            self._hop(self.end, data)
        elif not self._state:
            if data is not None:
                self.send(data)
            self._finish("closed")

    def abort(self) -> None:
        """Close at once; what was not written yet is lost."""
        if get_ident() != self._host.thread:
            self._hop(self.abort)
        else:
            self._give_up("aborted")

    async def wait_closed(self) -> None:
        """Wait until the connection is gone and `on_close` was called.

        Raises:
            RuntimeError: It was called outside the loop's thread.
        """
        self._check_thread("wait_closed")
        if self._state == CLOSED:
            return
        waiter = self._host.loop.create_future()
        if self._closed_waiters is None:
            self._closed_waiters = []
        self._closed_waiters.append(waiter)
        await waiter

    def pipe(self, other: Connection) -> None:
        """Send everything that this connection receives to `other`; one direction.

        Takes the place of `on_message`. This connection is not read while `other` is full.
        When it closes, `other` is closed behind the last byte; when `other` closes, it is
        closed, too; also when it is gone already.

        Raises:
            ValueError: `other` is this connection.
        """
        if get_ident() != self._host.thread:
            self._hop(self.pipe, other)
            return
        if other is self:
            raise ValueError("a connection cannot be piped to itself")
        if self.closed or other.closed:
            # Who is gone already will not tell the other one any more.
            self._shut("pipe")
            other._shut("pipe")
            return
        if self._pipe is not None:
            self._pipe.detach()
        self._pipe = Pipe(self, other)
        self.on_message: Pipe = self._pipe  # type: ignore[misc]  # a descriptor, which mypy misses in slots
        other._gain_feeder(self._pipe)

    def drain_out(self, reason: str, grace: float) -> None:
        """Leave in good order because the process stops or reloads.

        What is in work is finished first, however long it takes: the caller sets the last
        deadline, by `abort`.

        Args:
            reason: "reload" or "stop"; becomes the reason of the close.
            grace: Seconds without traffic, or work, after which it closes; 0: when idle.
        """
        if self._state or self._drain_reason:
            return
        self._drain_reason = reason
        self._drain_grace = grace
        self._drain_at = self._host.now()
        self._begin_drain()
        if not self._state:
            self._host.wheel.arm(self, self._drain_deadline(self._drain_at))

    # What the transport calls

    def connection_made(self, transport: Any) -> None:
        """Take the transport, and tell the owner and `on_connect`."""
        host = self._host
        self._transport = transport
        self._peer = transport.get_extra_info("peername")
        self._wrote_at = host.now()
        self._begin(self._wrote_at)
        # The low mark leaves work for the kernel while the application is being woken.
        transport.set_write_buffer_limits(high=host.high_water, low=host.high_water // 4)
        host.opened(self)
        host.wheel.arm(self, self._first_deadline(self.opened_at))
        self._announce()

    def _announce(self) -> None:
        """Call `on_connect`, first in the connection's order."""
        handler = self.on_connect
        if handler is not None:
            work = self._invoke(handler)
            if work is not None:
                self._start(work)

    def eof_received(self) -> bool:
        """Take the end of the peer's stream; answers may still have to be sent."""
        if self._state:
            return False
        if not self._eof:
            self._eof = True
            if self._host.cancel_on_close:
                self._shut("peer")
            else:
                self._pump()
        # TLS has no half-closed state that asyncio would keep.
        return not self._state and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection: `on_close`, once, at once."""
        if self._state == CLOSED:
            return
        host = self._host
        self._note("peer" if exc is None else "reset")
        self._state = CLOSED
        self._hold |= HOLD_SHUT
        self._inbox = None
        self._out.clear()
        self._queued = 0
        host.wheel.remove(self)
        host.closed(self)
        if host.cancel_on_close:
            self._cancel()
        self._part()
        self._farewell()
        for waiter in self._take_closed_waiters() or ():
            if not waiter.done():
                waiter.set_result(None)

    def _take_closed_waiters(self) -> list[asyncio.Future[None]] | None:
        """Hand over, once, whoever waits for the end."""
        waiters, self._closed_waiters = self._closed_waiters, None
        return waiters

    def _part(self) -> None:
        """Let go of everybody who waits for this connection, or feeds on it."""
        self._wake_waiters()
        if self._pipe is not None:
            self._pipe.source_gone()
        for pipe in list(self._feeders or ()):
            pipe.target_gone()

    def _farewell(self) -> None:
        self._notify(self.on_close)

    # Closing

    def _shut(self, reason: str) -> None:
        """Flush and close."""
        if not self._state:
            self._leave(reason, CLOSING)
            self._transport.close()

    def _finish(self, reason: str) -> None:
        """Flush, send FIN, discard input until the peer's FIN."""
        if self._state:
            return
        self._leave(reason, ENDING)
        transport = self._transport
        if self._eof or not transport.can_write_eof():
            self._state = CLOSING
            transport.close()
            return
        if self._read_hold:
            self._read_hold = 0
            transport.resume_reading()
        self._write_eof()

    def _leave(self, reason: str, state: int) -> None:
        self._note(reason)
        self._flush()
        self._state = state
        self._hold |= HOLD_SHUT
        self._inbox = None
        host = self._host
        self._progress = self.bytes_written - self._transport.get_write_buffer_size()
        self._close_at = host.now() + host.limits.close_timeout
        host.wheel.arm(self, self._close_at)

    def _write_eof(self) -> None:
        try:
            self._transport.write_eof()
        except OSError:
            # The peer reset the connection; the transport has not been told yet.
            self._transport.abort()

    def _give_up(self, reason: str) -> None:
        if self._state == CLOSED or self._transport is None:
            return
        self._note(reason)
        self._state = CLOSING
        self._hold |= HOLD_SHUT
        self._inbox = None
        self._out.clear()
        self._queued = 0
        self._transport.abort()

    def _ended(self) -> None:
        if not self._eof_told:
            self._eof_told = True
            try:
                events = self._codec.eof()
            except IncompleteError as error:
                self._note("incomplete")
                self._host.report.refusal(self, "incomplete", error)
            else:
                if events:
                    self._store(events)
                    return
        if self._host.concurrent and self._running:
            return
        if self._pipe is not None and self._pipe.both_ways():
            self._pipe.target._hand_on_eof()
            return
        self._shut("peer")

    def _hand_on_eof(self) -> None:
        """Tell the peer that nothing more comes, and go on reading."""
        if not self._state and not self._fin and self._transport.can_write_eof():
            self._flush()
            self._fin = True
            # From now on every send has to ask `_overflows`, which knows.
            self._room = 0.0
            self._write_eof()

    def _break(self, error: BaseException | None = None) -> None:
        self._shut("handler_error")

    def _refuse(self, error: RemoteProtocolError) -> None:
        if self._inbox or self._running:
            # What came before the error is delivered first; the codec raises it again then.
            self._stop_reading(HOLD_SHUT)
            return
        self._refuse_now(error)

    def _refuse_now(self, error: RemoteProtocolError) -> None:
        reason = "oversize" if isinstance(error, OversizeError) else "protocol_error"
        self._host.report.refusal(self, reason, error)
        last = self._codec.fail(error)
        if last and not self._state:
            self._put(last)
        self._finish(reason)

    def _discard(self, data: bytes) -> None:
        """Drop what arrives while the connection ends."""

    # Deadlines

    def on_deadline(self, now: float) -> float:
        """Act on what is due; called by the host's `DeadlineWheel`."""
        if self._state == CLOSED:
            return NEVER
        if self._state:
            return self._closing_deadline(now)
        following = self._write_deadline(now)
        for deadline in (self._quiet_deadline, self._drain_deadline):
            if not self._state:
                following = min(following, deadline(now))
        return self._close_at if self._state else following

    def _closing_deadline(self, now: float) -> float:
        waiting = self._transport.get_write_buffer_size()
        taken = self.bytes_written - waiting
        if waiting and taken != self._progress:
            # The flush goes on: a long last answer may take its time.
            self._progress = taken
            self._close_at = now + self._host.limits.close_timeout
        elif now >= self._close_at:
            # The reason of the close stands; that it could not be done in order is counted, too.
            self._host.stats.reasons["close_timeout"] += 1
            self._give_up("close_timeout")
            return NEVER
        return self._close_at

    def _first_deadline(self, now: float) -> float:
        idle = self._host.limits.idle_timeout
        return NEVER if idle is None else now + float(idle)

    def _quiet_deadline(self, now: float) -> float:
        """Close after `idle_timeout` without traffic; return when to look again."""
        idle = self._host.limits.idle_timeout
        if idle is None:
            return NEVER
        if self.bytes_written != self._wrote or self._running or self._read_hold:
            self._wrote = self.bytes_written
            self._wrote_at = now
        due = float(max(self.last_read, self._wrote_at) + idle)
        if now >= due:
            self._finish("idle")
        return due

    def _begin_drain(self) -> None:
        """Do what the protocol has for leaving."""

    def _quiet(self) -> bool:
        """Tell whether nothing is in work, nothing waits and nothing is half received."""
        return not (
            self._running
            or self._inbox
            or self._hold
            or self._codec.buffered
            or self._queued
            or self._transport.get_write_buffer_size()
        )

    def _drain_deadline(self, now: float) -> float:
        if not self._drain_reason:
            return NEVER
        grace = self._drain_grace
        due = max(self.last_read, self._drain_at) + grace
        if not self._quiet():
            return float(max(due, now + DRAIN_LOOK))
        if now >= due:
            self._finish(self._drain_reason)
        return due
