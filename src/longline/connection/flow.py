"""Back-pressure, both ways.

Towards us: reading stops while any bit of `_read_hold` is set (the bits are those of
`_core/_states.py`). From us: the transport tells when more than half of `max_send_buffer` waits in
it (`pause_writing`) and when that is gone again; a send is refused when `max_send_buffer` is
reached, counted before the message is added, so that one message may exceed it.

A peer that takes nothing for `write_timeout` while data waits is aborted. That is looked at
four times in each period, only while there is something to write.
"""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

from .._core._states import CLOSED, HOLD_CHOKED, HOLD_PIPE, HOLD_USER
from .deadline import NEVER
from .dispatch import Dispatch

if TYPE_CHECKING:
    import asyncio

    from .pipe import Pipe

__all__ = ["Flow"]

WRITE_LOOKS = 4
"""How often in a `write_timeout` the progress of writing is looked at."""


class Flow(Dispatch):
    """Adds the flow control of both directions to a connection's order."""

    __slots__ = ("_feeders", "_fin", "_pipe", "_progress", "_progress_at", "_read_hold", "_waiters",
                 "send_failures")  # fmt: skip

    turnwise: ClassVar[bool] = False
    """Whether a peer that does not take its answers is not asked further questions."""

    def __init__(self, host: Any, codec: Any) -> None:
        super().__init__(host, codec)
        self._read_hold = 0
        self._fin = False
        self._waiters: list[asyncio.Future[None]] | None = None
        self._pipe: Pipe | None = None
        self._feeders: list[Pipe] | None = None
        self._progress = 0
        self._progress_at = NEVER
        self.send_failures: int = 0

    # Reading

    def _stop_reading(self, bit: int) -> None:
        # A WebSocket has no transport before its handshake is over.
        transport = None if self._read_hold or self._eof else self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
        self._read_hold |= bit

    def _go_on_reading(self, bit: int) -> None:
        if not self._read_hold & bit:
            return
        self._read_hold &= ~bit
        if self._read_hold or self._transport is None:
            return
        if not self._eof and not self._transport.is_closing():
            # The clocks of silence stood still while nobody listened.
            self._heard(self._host.now())
            self._transport.resume_reading()

    def pause(self) -> None:
        """Stop delivery, even of messages that were received already, until `resume`."""
        if get_ident() != self._host.thread:
            self._hop(self.pause)
        elif not self._state:
            self._hold |= HOLD_USER
            self._stop_reading(HOLD_USER)

    def resume(self) -> None:
        """Go on with delivery, in order, with what was received before."""
        if get_ident() != self._host.thread:
            self._hop(self.resume)
        elif not self._state:
            self._release_soon(HOLD_USER)

    @property
    def receive_queue(self) -> int:
        """Bytes received that belong to no delivered message; decoded ones not counted."""
        return int(self._codec.buffered)

    # Writing

    @property
    def send_queue(self) -> int:
        """Bytes queued for the peer in this process."""
        if self._transport is None or self._state == CLOSED:
            return 0
        return self._queued + int(self._transport.get_write_buffer_size())

    def write(self, data: bytes) -> bool:
        """Queue bytes that are encoded already; otherwise as `send`.

        A broadcast encodes once and shares the bytes among all receivers.
        """
        if get_ident() != self._host.thread:
            return bool(self._hop(self.write, data))
        if self._state:
            return self._unsent()
        return self._put(data)

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was sent, or has gone.

        Returns at once when little waits. With `max_send_buffer` unlimited this is the only
        brake, so call it in loops that send much.

        Raises:
            RuntimeError: It was called outside the loop's thread.
        """
        self._check_thread("drain")
        self._flush()
        if self._choked and self._state != CLOSED:
            waiter = self._host.loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter

    def pause_writing(self) -> None:
        """Take the transport's word that too much waits to be written."""
        self._choked = True
        if self.turnwise and not self._state:
            self._hold |= HOLD_CHOKED
            self._stop_reading(HOLD_CHOKED)
        for pipe in self._feeders or ():
            pipe.hold()
        if not self._state:
            self._notify(self._callbacks.on_buffer_full)

    def resume_writing(self) -> None:
        """Take the transport's word that there is room again."""
        self._choked = False
        self._wake_waiters()
        self._release_soon(HOLD_CHOKED)
        for pipe in self._feeders or ():
            pipe.release()
        if self._state != CLOSED:
            self._notify(self._callbacks.on_buffer_drain)

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _full(self) -> bool:
        """Tell whether the peer takes no more for now; what was collected is written first."""
        if not self._choked and self._queued >= self._host.high_water:
            self._flush()
        return self._choked

    def _gain_feeder(self, pipe: Pipe) -> None:
        """Tell a pipe into this connection from now on when to hold."""
        if self._feeders is None:
            self._feeders = []
        self._feeders.append(pipe)
        if self._choked:
            pipe.hold()

    def _lose_feeder(self, pipe: Pipe) -> None:
        """Forget a pipe into this connection; harmless when it is unknown."""
        if self._feeders and pipe in self._feeders:
            self._feeders.remove(pipe)

    def _unpipe(self) -> None:
        """Forget the pipe out of this connection."""
        self._pipe = None

    def _answers_to(self, source: Flow) -> bool:
        """Tell whether this connection is piped to `source`, and its peer may still speak."""
        return self._pipe is not None and self._pipe.target is source and not self._eof

    def _hold_for_pipe(self) -> None:
        """Be neither served nor read while the pipe's target is full."""
        if not self._state:
            self._hold |= HOLD_PIPE
            self._stop_reading(HOLD_PIPE)

    def _release_from_pipe(self) -> None:
        """Be served and read again, now that the pipe's target has room."""
        self._release_soon(HOLD_PIPE)

    # The send limit and the peer that takes nothing

    def _overflows(self) -> bool:
        if self._fin:
            return not self._unsent()
        limit = self._host.limits.max_send_buffer
        if limit is None:
            return False
        if self._queued >= self._room:
            # Only what the transport could not write counts against the peer.
            self._flush()
        if self.send_queue < limit:
            return False
        self._count_unsent()
        self._tell_error(BufferError(f"{limit} bytes wait to be sent (max_send_buffer)"))
        if self._codec.gapless and not self._state:
            self._host.report.timeout(self, "slow_reader")
            self._give_up("slow_reader")
        return True

    def _unsent(self) -> bool:
        self._count_unsent()
        self._tell_error(BrokenPipeError("the connection is closing or closed"))
        return False

    def _count_unsent(self) -> None:
        self.send_failures += 1
        self._host.stats.send_failures += 1

    def _watch_writes(self) -> None:
        patience = self._host.limits.write_timeout
        if patience is not None and self._transport.get_write_buffer_size():
            self._looking = True
            self._host.wheel.arm(self, self._host.now() + patience / WRITE_LOOKS)

    def _write_deadline(self, now: float) -> float:
        """Abort a peer that takes nothing; return when to look again."""
        patience = self._host.limits.write_timeout
        waiting = self._transport.get_write_buffer_size()
        if patience is None or not waiting:
            self._progress_at = NEVER
            self._looking = False
            return NEVER
        taken = self.bytes_written - waiting
        if self._progress_at == NEVER or taken != self._progress:
            self._progress = taken
            self._progress_at = now
        elif now - self._progress_at >= patience:
            self._host.report.timeout(self, "slow_reader")
            self._give_up("slow_reader")
            return NEVER
        return float(now + patience / WRITE_LOOKS)

    def _give_up(self, reason: str) -> None:
        """Abort, and remember why."""
        raise NotImplementedError

    # Other threads

    def _check_thread(self, name: str) -> None:
        """Refuse a coroutine that another thread's loop would run."""
        if get_ident() != self._host.thread:
            raise RuntimeError(f"{name}() is awaited in the connection's own loop only")

    def _hop(self, call: Any, *args: Any) -> Any:
        loop = self._host.loop
        result: Future[Any] = Future()

        def run() -> None:
            try:
                result.set_result(call(*args))
            except Exception as error:
                result.set_exception(error)

        try:
            loop.call_soon_threadsafe(run)
        except RuntimeError:
            # The loop is closed, and every connection with it.
            return False
        while True:
            try:
                return result.result(timeout=1.0)
            except FutureTimeout:
                if result.done():
                    raise
                if not loop.is_running():
                    return False
