"""Who is served when: the order of one connection's events.

Handlers of one connection never overlap. A plain handler is done when it returns. An
asynchronous one is awaited in the connection's Task, and that Task goes on with what waits
in the inbox: one Task for a burst, however long. Meanwhile events are kept; from
`max_pending` on, reading stops. `Host.concurrent` lifts the order: a Task each, as many as
`max_pending`.

Nobody is served while `_hold` has a bit set; each bit is one reason, named in
`_core/_states.py`.

Bytes that no event has come of yet are bounded, too. While nobody may be served, or a codec
hands out nothing until an answer was given, reading stops behind `READ_AHEAD_BYTES`
(`HOLD_AHEAD`) and goes on when the codec has been emptied and asks for more. Whatever clears
a hold, or answers, calls `_pump`, so that moment always comes. While a connection is served,
the protocol's own limits bound what is half received.

What a handler raises is the application's failure, whatever it is: logged, counted, told to
`on_error`, and the connection closes. That holds for SystemExit and for a CancelledError
that nobody asked for as well; only KeyboardInterrupt goes on, and ends the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from functools import partial
from inspect import iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from .._core import Stream
from .._core._states import (
    HOLD_AHEAD,
    HOLD_TASK,
    HOLD_TURN,
    READ_AHEAD_BYTES,
    TURN_MESSAGES,
)
from ..errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Dispatch", "cancelled_handler"]


def cancelled_handler(error: asyncio.CancelledError) -> RuntimeError:
    """Return what is reported of a handler that ended cancelled, without our doing."""
    failure = RuntimeError("the handler was cancelled")
    failure.__cause__ = error
    return failure


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
        if events:
            inbox = self._inbox
            if inbox is None:
                inbox = self._inbox = deque()
            inbox.extend(events)
            if len(inbox) >= self._host.limits.max_pending:
                self._stop_reading(HOLD_TASK)
        self._bound_read_ahead()

    def _bound_read_ahead(self) -> None:
        """Stop reading when too much waits undecoded; `_refill` goes on."""
        if self._codec.buffered > READ_AHEAD_BYTES:
            self._stop_reading(HOLD_AHEAD)

    def _wants_more(self) -> bool:
        """Tell whether the codec, which has no event, needs bytes; else it needs an answer."""
        return True

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
        else:
            if self._wants_more():
                self._go_on_reading(HOLD_AHEAD)
            if self._eof:
                self._ended()
        return bool(self._inbox)

    def _yield_turn(self) -> None:
        self._hold |= HOLD_TURN
        self._bound_read_ahead()
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
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            requested = task is not None and task.cancelling() > 0
            if not self._state:
                # Ours only after the peer has gone; else the handler's own doing.
                self._failed(cancelled_handler(error))
            if requested:
                raise
            return None
        except GeneratorExit:
            raise
        except BaseException as error:
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
            except BaseException as error:
                self._failed(error)
                return None
        call = partial(copy_context().run, handler, self, message)
        return self._in_pool(call)

    async def _in_pool(self, call: Any) -> Any:
        result, error = await self._host.loop.run_in_executor(self._host.executor, _outcome, call)
        if error is not None:
            raise error
        return result

    # Other handlers

    def _invoke(self, handler: Any, *args: Any) -> Awaitable[Any] | None:
        """Run a handler that has its place in the order and is no message handler."""
        try:
            return self._answer(handler(self, *args))
        except BaseException as error:
            self._failed(error)
            return None

    def _notify(self, handler: Any, *args: Any) -> None:
        """Run a handler outside the order; its result means nothing, its failure is logged."""
        if handler is None:
            return
        host = self._host
        try:
            result = handler(self, *args)
        except BaseException as error:
            host.handler_failed(self, error)
            return
        if hasattr(type(result), "__await__"):
            host.spawn(result, self)

    def _failed(self, error: BaseException) -> None:
        if not self._host.handler_failed(self, error):
            return
        self._tell_error(error)
        if not self._state:
            self._break(error)

    def _tell_error(self, error: BaseException) -> None:
        """Call `on_error`, unless it is what failed."""
        if self._telling:
            return
        self._telling = True
        try:
            self._notify(self._callbacks.on_error, error)
        finally:
            self._telling = False

    # Filled in by those who derive

    def _break(self, error: BaseException | None = None) -> None:
        """Close because a handler failed, with the protocol's own words for it."""
        raise NotImplementedError

    def _ended(self) -> None:
        """Act on the end of the peer's stream: everything before it has been delivered."""
        raise NotImplementedError

    def _stop_reading(self, bit: int) -> None:
        raise NotImplementedError

    def _go_on_reading(self, bit: int) -> None:
        raise NotImplementedError


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Return what a call in the pool returned or raised.

    Raised in the pool, a StopIteration could not be set on a future, and nobody would hear of
    it; raised in the coroutine, it becomes a RuntimeError.
    """
    try:
        return call(), None
    except BaseException as error:
        return None, error
