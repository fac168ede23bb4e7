"""How the service ends: drain, deadlines, the last hook, and the way out."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .control import Request
    from .manifest import WorkerSpec

__all__ = ["FAST_TIMEOUT", "HOOK_TIMEOUT", "Shutdown", "Step", "Urgency"]

FAST_TIMEOUT = 2.0
"""Deadline of a fast stop (Ctrl+C, or a second signal)."""
HOOK_TIMEOUT = 10.0
"""Deadline of the application's on_stop hook."""


class Urgency(enum.IntEnum):
    """How patient a stop is; it only ever rises."""

    GRACEFUL = 0
    PLAIN = 1
    FAST = 2
    NOW = 3


class Step(enum.StrEnum):
    """How far the stop has come."""

    DRAINING = "draining"
    HOOK = "hook"
    UNLINK = "unlink"
    OVER = "over"


class Shutdown:
    """A stop under way: why, how patient, how far, and with which exit code.

        draining --no process left--> hook --on_stop ran--> unlink --sockets removed--> over

    Args:
        reason: For the log.
        urgency: How patient it begins.
        code: The service's exit code.
        graceful_timeout: Seconds that a graceful stop takes at most.
        hook: Asks for the application's last hook; False when nobody can run it.
        unlink: Asks for the Unix sockets' files to be removed; False when there are none.
    """

    def __init__(
        self,
        reason: str,
        urgency: Urgency,
        code: int,
        graceful_timeout: float,
        *,
        hook: Callable[[], bool] = lambda: False,
        unlink: Callable[[], bool] = lambda: False,
    ) -> None:
        self.reason = reason
        self.urgency: Urgency = urgency
        self.code = code
        self.step: Step = Step.DRAINING
        self.waiters: list[Request] = []
        self._deadline = 0.0
        self._graceful_timeout = graceful_timeout
        self._hook = hook
        self._unlink = unlink

    @property
    def over(self) -> bool:
        """Whether nothing is left to wait for."""
        return self.step is Step.OVER

    def advance(self, now: float, *, drained: bool) -> bool:
        """Take the next step, if it is time; True when the last hook took too long."""
        if self.step is Step.DRAINING and drained:
            self.step = Step.HOOK
            self._deadline = now + HOOK_TIMEOUT
            if not self._hook():
                self.hook_done()
        elif self.step in (Step.HOOK, Step.UNLINK) and now > self._deadline:
            self.step = Step.OVER
            return True
        return False

    def hook_done(self) -> None:
        """Note that the last hook ran."""
        if self.step is Step.HOOK:
            self.step = Step.UNLINK if self._unlink() else Step.OVER

    def unlinked(self) -> None:
        """Note that the sockets' files are removed."""
        if self.step is Step.UNLINK:
            self.step = Step.OVER

    def template_gone(self) -> None:
        """Note that nobody is left to run a hook or to remove a file."""
        if self.step in (Step.HOOK, Step.UNLINK):
            self.step = Step.OVER

    def timeout(self, spec: WorkerSpec) -> float:
        """Return the seconds that a worker of `spec` gets to let go."""
        match self.urgency:
            case Urgency.GRACEFUL:
                return self._graceful_timeout
            case Urgency.PLAIN:
                return spec.stop_timeout
            case Urgency.FAST:
                return min(FAST_TIMEOUT, spec.stop_timeout)
        return 0.0

    def hurry(self, urgency: Urgency, *, escalate: bool = False) -> bool:
        """Become less patient; False when it already was that impatient.

        Args:
            urgency: What is asked for.
            escalate: Whether asking again is by itself a reason to hurry, as for a signal.
        """
        following = Urgency(min(self.urgency + 1, Urgency.NOW))
        wanted = max(urgency, following) if escalate else urgency
        if wanted <= self.urgency:
            return False
        self.urgency = wanted
        return True
