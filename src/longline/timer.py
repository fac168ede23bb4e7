"""Timers on the running loop: every so often, or once after a while.

A timer knows the instants it is due at (start + n * interval, on the monotonic clock), so a
late run does not push the later ones back; instants that passed meanwhile are skipped, never
caught up. Runs of one timer do not overlap: an asynchronous callback that takes longer than
the interval makes the timer skip. The module keeps the set of live timers, because a reload
has to stop the old process's timers before the new one's start.
"""

from __future__ import annotations

import asyncio
import logging
import math
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "Timer",
    "active_timers",
    "cancel_all",
    "cancel_repeating",
    "pause_repeating",
    "resume_repeating",
]

_log = logging.getLogger("longline")

_timers: set[Timer] = set()
_paused = False


class Timer:
    """One timer; made by `Timer.every` and `Timer.after`, kept alive by this module."""

    __slots__ = ("_args", "_callback", "_due", "_handle", "_interval", "_loop", "_task")

    def __init__(
        self, delay: float, interval: float | None, callback: Callable[..., Any], args: Any
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval
        self._callback = callback
        self._args: tuple[Any, ...] = args
        self._due = self._loop.time() + delay
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        _timers.add(self)
        self._arm()

    @classmethod
    def every(cls, interval: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Run a callback every `interval` seconds, first after one interval.

        Args:
            interval: Seconds, above zero.
            callback: Plain or asynchronous; an exception is logged and the timer goes on.
            *args: What the callback gets.

        Raises:
            ValueError: The interval is not a finite number above zero.
            RuntimeError: No event loop is running.
        """
        seconds = _checked(interval, "interval")
        return cls(seconds, seconds, callback, args)

    @classmethod
    def after(cls, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Run a callback once, `delay` seconds from now.

        Args and Raises: as `every`.
        """
        return cls(_checked(delay, "delay"), None, callback, args)

    @property
    def active(self) -> bool:
        """Whether the timer will still run."""
        return self in _timers

    def cancel(self) -> bool:
        """Stop the timer; a run that has begun is finished.

        Returns:
            True when it was active, False when it had been cancelled or had run out.
        """
        if self not in _timers:
            return False
        _timers.discard(self)
        self._disarm()
        return True

    def _arm(self) -> None:
        if self._handle is None and (self._interval is None or not _paused):
            self._handle = self._loop.call_at(self._due, self._fire)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        if self._interval is None:
            _timers.discard(self)
        else:
            self._due = _next_due(self._due, self._interval, self._loop.time())
            self._arm()
        if self._task is None:
            self._run()

    def _run(self) -> None:
        try:
            result = self._callback(*self._args)
        except Exception:
            self._report()
            return
        if isawaitable(result):
            task = self._loop.create_task(self._finish(result))
            # An eager task may be over before it can be stored.
            self._task = None if task.done() else task

    async def _finish(self, work: Awaitable[Any]) -> None:
        try:
            await work
        except Exception:
            self._report()
        finally:
            self._task = None

    def _report(self) -> None:
        _log.exception("a timer's callback %r failed", self._callback)


def _checked(seconds: float, name: str) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(f"the {name} is a number of seconds, not {seconds!r}")
    if not seconds > 0 or math.isinf(seconds):
        raise ValueError(f"the {name} must be a finite number above 0, not {seconds!r}")
    return float(seconds)


def _next_due(due: float, interval: float, now: float) -> float:
    """The first instant of the series that is still to come."""
    following = due + interval
    if following <= now:
        following += math.ceil((now - following) / interval) * interval
    # Rounding may leave the result at `now`, or an interval may vanish beside a large clock.
    return following if following > now else now + interval


def active_timers() -> int:
    """Count the timers of this process that will still run."""
    return len(_timers)


def pause_repeating() -> None:
    """Hold every repeating timer, and those made from now on, until `resume_repeating`.

    The old process of a reload calls it before the new one's timers start. One-shot timers go
    on: a handler may have set one for the answer that its peer still waits for. Runs that have
    begun are finished.
    """
    global _paused
    _paused = True
    for timer in _repeating():
        timer._disarm()


def resume_repeating() -> None:
    """Let the timers run again; what fell due meanwhile runs once, at once."""
    global _paused
    _paused = False
    for timer in _timers:
        timer._arm()


def cancel_repeating() -> None:
    """Cancel every repeating timer: this process is leaving, and finishes what is in work."""
    for timer in _repeating():
        timer.cancel()


def cancel_all() -> None:
    """Cancel every timer of this process and forget a pause."""
    global _paused
    _paused = False
    for timer in list(_timers):
        timer.cancel()


def _repeating() -> list[Timer]:
    return [timer for timer in _timers if timer._interval is not None]
