"""A worker process: one Worker in an event loop, under a master's orders.

    start hooks, accept --> ready --> serving ... beats, loans, questions
                                        |
                                   drain / SIGTERM / master gone --> leave --> exit code

The loop beats once a second, from the loop itself: a process whose loop is stuck must not
look alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import traceback
from typing import TYPE_CHECKING, Any, Protocol

from .. import timer
from ..application import app
from ..connection import live_hosts
from ..exitcode import EXIT_START
from ..loop import new_event_loop
from ..osproc import open_descriptors, raise_descriptor_limit
from .report import write_rows
from .serving import Serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .worker import Worker

__all__ = ["Link", "Order", "serve"]

_log = logging.getLogger("longline")

BEAT_INTERVAL = 1.0
ORPHAN_TIMEOUT = 3.0
"""Seconds that a process whose master died gets to finish what is in work."""
CANCEL_TIMEOUT = 1.0
"""Seconds that a start hook gets to take note of its cancellation."""


class Order(Protocol):
    """One message of the master."""

    @property
    def body(self) -> dict[str, Any]:
        """The order: `do`, and its arguments."""

    @property
    def fds(self) -> list[int]:
        """Descriptors that came with it, ours to close."""


class Link(Protocol):
    """What a worker process needs of its master."""

    slot: int
    listeners: list[socket.socket]
    parent: int

    def fileno(self) -> int:
        """Return the descriptor that is readable when an order came."""

    def ready(self) -> None:
        """Report that it serves."""

    def failed(self, reason: str, trace: str) -> None:
        """Report that it cannot start."""

    def beat(self, stats: dict[str, Any]) -> None:
        """Report that the loop turns."""

    def quiesced(self) -> None:
        """Report that its timers rest."""

    def declined(self, slot: int) -> None:
        """Report that a lent socket did not arrive."""

    def accepting(self, value: bool) -> None:
        """Report whether it takes connections: paused, or full, it does not."""

    def receive(self) -> Sequence[Order] | None:
        """Return the orders that came; None when the master is gone."""


def serve(worker: Worker, link: Link) -> int:
    """Serve one slot of a Worker until the master, or its death, ends it.

    Returns:
        The exit code: 0 after leaving in good order.
    """
    loop = new_event_loop(worker.loop)
    asyncio.set_event_loop(loop)
    process = _Process(worker, link, loop)
    try:
        return loop.run_until_complete(process.run())
    finally:
        loop.close()


class _Process:
    """The process of one slot."""

    def __init__(self, worker: Worker, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = worker
        self._link = link
        self._loop = loop
        self._over: asyncio.Future[None] = loop.create_future()
        self._serving: Serving | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._beat_due = 0.0
        self._beat_messages = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        # Python's own handler, not the loop's: it runs between two bytecodes, so that even a
        # handler in an endless loop cannot outlive its master.
        signal.signal(signal.SIGTERM, self._on_sigterm)
        # Orders are obeyed during start hooks, too: a stop must not wait for a slow one.
        self._loop.add_reader(self._link.fileno(), self._on_orders)
        try:
            self._serving = Serving(
                self._worker, slot=self._link.slot, processes=self._worker.count
            )
            self._serving.on_empty = self._check_empty
            self._serving.on_accepting = self._link.accepting
            if not await self._start(self._serving):
                return 0
        except Exception as error:
            reason = traceback.format_exception_only(error)[-1].strip()
            self._link.failed(reason, traceback.format_exc())
            return EXIT_START
        self._link.ready()
        self._beat_due = self._loop.time()
        self._beat()
        await self._over
        self._serving.close()
        for embedded in app.embedded:
            embedded.close()
        await asyncio.sleep(0)
        return 0

    async def _start(self, serving: Serving) -> bool:
        """Start to serve; False when the process is to end before a slow hook has finished."""
        start = self._loop.create_task(serving.start(self._link.listeners))
        await asyncio.wait({start, self._over}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            return True
        start.cancel()
        await asyncio.wait({start}, timeout=CANCEL_TIMEOUT)
        serving.close()
        return False

    @property
    def _servings(self) -> list[Serving]:
        own = [self._serving] if self._serving is not None else []
        return [*own, *app.embedded]

    # -- reports

    def _beat(self) -> None:
        now = self._loop.time()
        lag = max(0.0, now - self._beat_due)
        self._link.beat(self._stats(lag, BEAT_INTERVAL + lag))
        self._beat_due = max(self._beat_due + BEAT_INTERVAL, now)
        self._loop.call_at(self._beat_due, self._beat)

    def _stats(self, lag: float, elapsed: float) -> dict[str, Any]:
        hosts = [serving.host.stats for serving in self._servings]
        messages = sum(stats.messages for stats in hosts)
        rate = (messages - self._beat_messages) / elapsed
        self._beat_messages = messages
        reasons: dict[str, int] = {}
        for serving in self._servings:
            overloads = {"no_descriptor": serving.overloads}
            for counter in (serving.host.stats.reasons, serving.refused, overloads):
                for reason, times in counter.items():
                    if times:
                        reasons[reason] = reasons.get(reason, 0) + times
        return {
            "connections": sum(len(host.connections) for host in live_hosts()),
            "accepted": sum(stats.accepted for stats in hosts),
            "send_failures": sum(stats.send_failures for stats in hosts),
            "handler_errors": sum(stats.handler_errors for stats in hosts),
            "timers": timer.active_timers(),
            "messages": messages,
            "rate": round(rate, 1),
            "lag": round(lag, 4),
            "reasons": reasons,
            "descriptors": open_descriptors(),
            "descriptor_limit": raise_descriptor_limit()[0],
        }

    # -- orders

    def _on_orders(self) -> None:
        orders = self._link.receive()
        if orders is None:
            self._loop.remove_reader(self._link.fileno())
            self._orphaned()
            return
        for order in orders:
            self._obey(order.body, order.fds)

    def _obey(self, body: dict[str, Any], fds: list[int]) -> None:
        serving = self._serving
        match body.get("do"):
            case "lend" if serving is not None and fds:
                serving.lend(body["slot"], socket.socket(fileno=fds.pop()))
            case "lend":
                self._link.declined(body["slot"])
            case "return" if serving is not None:
                serving.give_back(body["slot"])
            case "quiesce":
                timer.pause_repeating()
                self._link.quiesced()
            case "resume":
                timer.resume_repeating()
            case "drain":
                self._drain(body)
            case "reload":
                self._keep(self._loop.create_task(self._on_reload()))
            case "connections" if fds:
                rows = write_rows(fds.pop())
                self._keep(self._loop.create_task(rows))
        for fd in fds:
            os.close(fd)

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done: the loop itself would not."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_reload(self) -> None:
        if self._serving is not None:
            await self._serving.call(self._worker.handlers.on_reload)

    # -- leaving

    def _drain(self, body: dict[str, Any]) -> None:
        """Begin to leave; asked again, only the deadline changes.

        Args:
            body: `reason`, `timeout`, `grace`, `spread` and `last`, as in `Serving.leave`.
        """
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(max(0.0, body["timeout"]), self._time_is_up)
        if self._leaving is None:
            self._leaving = self._loop.create_task(self._leave(body))

    async def _leave(self, body: dict[str, Any]) -> None:
        timer.cancel_repeating()
        for serving in self._servings:
            serving.on_empty = self._check_empty
            await serving.leave(
                body["reason"], grace=body["grace"], spread=body["spread"], last=body["last"]
            )
        self._check_empty()

    def _check_empty(self) -> None:
        servings = self._servings
        if all(s.draining and not s.host.connections for s in servings) and not self._over.done():
            self._over.set_result(None)

    def _time_is_up(self) -> None:
        left = sum(len(serving.host.connections) for serving in self._servings)
        if left:
            _log.warning("the deadline closes %d connections", left)
        for serving in self._servings:
            serving.abort_all()
        if not self._over.done():
            self._over.set_result(None)

    def _on_sigterm(self, _number: int, _frame: Any) -> None:
        if os.getppid() != self._link.parent:
            # The master is gone. Should this loop never turn again, the alarm ends the process.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, ORPHAN_TIMEOUT + 1.0)
            self._loop.call_soon_threadsafe(self._orphaned)
        else:
            # Somebody signalled this process alone: the master will start another one.
            order = _stop_within(self._worker.limits.stop_timeout)
            self._loop.call_soon_threadsafe(self._drain, order)

    def _orphaned(self) -> None:
        _log.error("the master is gone: this process ends")
        self._drain(_stop_within(ORPHAN_TIMEOUT, last=True))


def _stop_within(timeout: float, *, last: bool = False) -> dict[str, Any]:
    return {"reason": "stop", "timeout": timeout, "grace": 0.0, "spread": 0.0, "last": last}
