"""Who is served when: the order of one connection's events.

Handlers of one connection never overlap. A plain handler is done when it returns. An
asynchronous one is awaited in the connection's Task, and that Task goes on with what waits
in the inbox: one Task for a burst, however long. Meanwhile events are kept; from
`max_pending` on, reading stops. `Host.concurrent` lifts the order: a Task each, as many as
`max_pending`.

Nobody is served while `_hold` has a bit set; each bit is one reason:

    HOLD_TURN    the share of this turn of the loop is used up
    HOLD_TASK    an asynchronous handler is at work
    HOLD_USER    `pause()`
    HOLD_CHOKED  the peer does not take its answers (request/response protocols only)
    HOLD_PIPE    the connection that we are piped to is full
    HOLD_OPENING a WebSocket's handshake is not over
    HOLD_SHUT    the connection is closing or gone; never cleared
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from functools import partial
from inspect import iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from .._core import Stream
from ..errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["Dispatch"]

TURN_MESSAGES = 64

HOLD_TURN = 1
HOLD_TASK = 2
HOLD_USER = 4
HOLD_CHOKED = 8
HOLD_PIPE = 16
HOLD_OPENING = 32
HOLD_SHUT = 64

READ_TURN_BYTES = 64 * 1024
"""Undecoded bytes from which on a connection that had its share is not read either."""


class Dispatch(Stream):
    """Serves a connection's events in order."""

    __slots__ = ("_running", "_tasks", "_telling")

    def __init__(self, host: Any, codec: Any) -> None:
        super().__init__(host, codec)
        self._tasks: set[asyncio.Task[None]] | None = None
        self._running = 0
        self._telling = False

    # What waits

    def _store(self, events: list[Any]) -> None:
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = deque()
        inbox.extend(events)
        if len(inbox) >= self._host.limits.max_pending:
            self._stop_reading(HOLD_TASK)

    def _pump(self) -> None:
        """Serve what waits, unless something still holds it back."""
        if self._hold:
            return
        self._batching = True
        work = self._next(0)
        if work is not None:
            self._start(work)
        self._flush()

    def _next(self, own: int) -> Awaitable[Any] | None:
        """Deliver what waits until a handler's work has to be awaited.

        Args:
            own: The bit of `_hold` that is the caller's, and no obstacle to it.
        """
        share = TURN_MESSAGES
        work: Awaitable[Any] | None = None
        while work is None and not self._hold & ~own:
            inbox = self._inbox
            if not inbox:
                if not self._refill():
                    break
                continue
            if not share:
                self._yield_turn()
                break
            share -= 1
            work = self._deliver(inbox.popleft())
            if work is not None and self._host.concurrent:
                self._start(work)
                work = None
        if not self._inbox:
            # Most connections are idle most of the time, and a deque weighs as much as one.
            self._inbox = None
        if self._inbox is None or len(self._inbox) * 2 <= self._host.limits.max_pending:
            self._go_on_reading(HOLD_TASK)
        return work

    def _refill(self) -> bool:
        """Take the next events out of the codec, and after the last one the peer's end."""
        try:
            events = self._codec.feed(b"")
        except RemoteProtocolError as error:
            self._refuse(error)
            return False
        if events:
            self._store(events)
        elif self._eof:
            self._ended()
        return bool(self._inbox)

    def _yield_turn(self) -> None:
        self._hold |= HOLD_TURN
        if self._codec.buffered > READ_TURN_BYTES:
            self._stop_reading(HOLD_TURN)
        self._host.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._release(HOLD_TURN)
        self._pump()

    def _release(self, bit: int) -> None:
        """Clear a reason to hold, for serving and for reading; the caller sees to `_pump`."""
        self._hold &= ~bit
        self._go_on_reading(bit)

    def _release_soon(self, bit: int) -> None:
        """Clear a reason to hold and serve what waits at the end of this turn of the loop."""
        if self._hold & bit:
            self._release(bit)
            self._host.loop.call_soon(self._pump)

    # Asynchronous handlers

    def _start(self, work: Awaitable[Any]) -> None:
        host = self._host
        self._running += 1
        if not host.concurrent:
            self._hold |= HOLD_TASK
            task = host.loop.create_task(self._work(work))
        else:
            if self._running >= host.limits.max_pending:
                self._hold |= HOLD_TASK
            task = host.loop.create_task(self._work_alone(work))
        # An eager task may be over before it can be stored.
        if not task.done():
            if self._tasks is None:
                self._tasks = set()
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, work: Awaitable[Any] | None) -> None:
        """Await a handler's work, then all that waited behind it, in order."""
        served = 0
        try:
            while work is not None:
                work = await self._settle(work)
                if work is None:
                    work = self._next(HOLD_TASK)
                served += 1
                if served % TURN_MESSAGES == 0:
                    # Handlers that never wait would keep the loop to this connection.
                    await asyncio.sleep(0)
        finally:
            self._running -= 1
            self._hold &= ~HOLD_TASK
            if iscoroutine(work):
                work.close()
        # A reason that was cleared while the Task ran found the Task in its way.
        self._pump()

    async def _work_alone(self, work: Awaitable[Any] | None) -> None:
        try:
            while work is not None:
                work = await self._settle(work)
        finally:
            self._running -= 1
            self._release_soon(HOLD_TASK)
            if self._eof:
                self._host.loop.call_soon(self._pump)

    async def _settle(self, work: Awaitable[Any]) -> Awaitable[Any] | None:
        """Await one handler and send what it returns."""
        try:
            return self._answer(await work)
        except asyncio.CancelledError:
            # Ours only after the peer has gone; else somebody cancelled the handler.
            if not self._state:
                self._break()
            raise
        except Exception as error:
            self._failed(error)
            return None

    def _cancel(self) -> None:
        """Cancel the handlers that are at work."""
        for task in self._tasks or ():
            # Not at once: a Task that has not begun would drop the work unawaited.
            self._host.loop.call_soon(task.cancel)

    def _call_in_pool(self, handler: Any, message: Any) -> Awaitable[Any] | None:
        if iscoroutinefunction(handler) or getattr(handler, "in_loop", False):
            try:
                return self._answer(handler(self, message))
            except Exception as error:
                self._failed(error)
                return None
        call = partial(copy_context().run, handler, self, message)
        return self._in_pool(call)

    async def _in_pool(self, call: Any) -> Any:
        return await self._host.loop.run_in_executor(self._host.executor, call)

    # Other handlers

    def _invoke(self, handler: Any, *args: Any) -> Awaitable[Any] | None:
        """Run a handler that has its place in the order and is no message handler."""
        try:
            return self._answer(handler(self, *args))
        except Exception as error:
            self._failed(error)
            return None

    def _notify(self, handler: Any, *args: Any) -> None:
        """Run a handler outside the order; its result means nothing, its failure is logged."""
        if handler is None:
            return
        host = self._host
        try:
            result = handler(self, *args)
        except Exception as error:
            host.stats.handler_errors += 1
            host.report.failure(self, error)
            return
        if hasattr(type(result), "__await__"):
            host.spawn(result, self)

    def _failed(self, error: Exception) -> None:
        self._host.stats.handler_errors += 1
        self._host.report.failure(self, error)
        self._tell_error(error)
        if not self._state:
            self._break(error)

    def _tell_error(self, error: Exception) -> None:
        """Call `on_error`, unless it is what failed."""
        if self._telling:
            return
        self._telling = True
        try:
            self._notify(self._callbacks.on_error, error)
        finally:
            self._telling = False

    # Filled in by those who derive

    def _break(self, error: Exception | None = None) -> None:
        """Close because a handler failed, with the protocol's own words for it."""
        raise NotImplementedError

    def _ended(self) -> None:
        """Act on the end of the peer's stream: everything before it has been delivered."""
        raise NotImplementedError

    def _stop_reading(self, bit: int) -> None:
        raise NotImplementedError

    def _go_on_reading(self, bit: int) -> None:
        raise NotImplementedError
