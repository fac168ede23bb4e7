"""How the service ends: drain, deadlines, the last hook, and the way out."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .control import Request
    from .manifest import WorkerSpec

__all__ = ["FAST_TIMEOUT", "HOOK_TIMEOUT", "Shutdown", "Urgency"]

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
    """A stop under way: why, how patient, and with which exit code."""

    def __init__(self, reason: str, urgency: Urgency, code: int, graceful_timeout: float) -> None:
        self.reason = reason
        self.urgency = urgency
        self.code = code
        self.step = Step.DRAINING
        self.deadline = 0.0
        self.waiters: list[Request] = []
        self._graceful_timeout = graceful_timeout

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

    def hurry(self, urgency: Urgency | None = None) -> bool:
        """Become less patient; False when it already was that impatient."""
        wanted = Urgency(min(self.urgency + 1, Urgency.NOW)) if urgency is None else urgency
        if wanted <= self.urgency:
            return False
        self.urgency = wanted
        return True
