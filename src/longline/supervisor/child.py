"""The master's record of one worker process, and of its health.

    starting --ready--> ready <--beats--> busy | stopped --silence--> hung
        any of them --drain--> draining --> gone

A worker beats once a second from its event loop. Two missed beats make it `busy`; if the
kernel says that it was stopped (SIGSTOP, a debugger) it is `stopped` and no clock runs. A
loop that stays silent for `hang_timeout` while it could run is `hung`: SIGABRT makes it write
the stack of every thread to the log, SIGKILL follows.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import os
import signal
from typing import TYPE_CHECKING, Any

from .. import osproc
from .channel import Channel, ChannelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .generation import Generation
    from .group import Group, Slot
    from .outlet import Outlet

__all__ = ["SILENCE", "Child", "State", "describe_status"]

SILENCE = 2.0
"""Seconds without a beat after which a worker counts as not serving."""
KILL_DELAY = 5.0
"""Seconds between SIGABRT and SIGKILL of a hung worker."""
STATS = (
    "connections",
    "send_failures",
    "timers",
    "messages",
    "rate",
    "accepted",
    "lag",
    "handler_errors",
    "descriptors",
    "descriptor_limit",
)
"""The figures of a beat."""
LARGEST_FIGURE = 2**63
MAX_REASONS = 100


class State(enum.StrEnum):
    """What `status` shows of one worker process."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    STOPPED = "stopped"
    HUNG = "hung"
    DRAINING = "draining"
    GONE = "gone"


LIVE = (State.READY, State.BUSY, State.STOPPED)


def describe_status(status: int) -> str:
    """Return a wait status as people say it: `exit 3` or `signal 9`."""
    try:
        code = os.waitstatus_to_exitcode(status)
    except (ValueError, OverflowError):
        # A template that relays exits may say anything.
        return "unknown status"
    return f"exit {code}" if code >= 0 else f"signal {-code}"


def checked_stats(raw: dict[str, Any]) -> dict[str, Any]:
    """Return what `status` shows of a beat: bounded numbers, and nothing that nests."""
    stats: dict[str, Any] = {key: raw[key] for key in STATS if _is_figure(raw.get(key))}
    reasons = raw.get("reasons")
    if isinstance(reasons, dict):
        kept = ((why[:100], times) for why, times in reasons.items() if _is_figure(times))
        stats["reasons"] = dict(itertools.islice(kept, MAX_REASONS))
    return stats


def _is_figure(value: Any) -> bool:
    # Compared, never converted: a whole number of a thousand digits is no float.
    return type(value) in (int, float) and -LARGEST_FIGURE <= value <= LARGEST_FIGURE


class Child:
    """One worker process: who it is, how it is, and the channel to it."""

    def __init__(
        self,
        group: Group,
        slot: Slot,
        generation: Generation,
        channel: Channel,
        outlet: Outlet,
        now: float,
    ) -> None:
        self.group = group
        self.slot = slot
        self.generation = generation
        self.channel = channel
        self.outlet = outlet
        self._sock = slot.sock
        """What it listens on; after a move, no longer what its slot has."""
        self.pid: int | None = None
        self.state: State = State.STARTING
        self.started_at = now
        self.ready_at: float | None = None
        self.last_beat: float = now
        self.beat: dict[str, Any] = {}
        self.accepting = True
        """Whether it takes connections; a full or paused process does not."""
        self.failure = ""
        self.expected = False
        """Whether its end was asked for; set when it has ended."""
        self.quiesce_by: float | None = None
        self.quiesced: bool = False
        self.kill_at: float | None = None
        self._silent_from = now

    def __str__(self) -> str:
        return f"{self.group.name}#{self.slot.id} (pid {self.pid or '?'})"

    @property
    def serving(self) -> bool:
        """Whether new connections in its slot's queue are taken."""
        return self.state is State.READY and self.accepting

    def tell(self, body: dict[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send one message; False when the worker can no longer be told anything."""
        try:
            self.channel.send(body, fds)
        except ChannelError:
            return False
        return True

    def flush(self) -> None:
        """Offer the worker what it has not taken yet."""
        with contextlib.suppress(ChannelError):
            self.channel.flush()

    def quiesce(self, until: float) -> None:
        """Ask for its timers to rest; whatever it answers, a replacement starts at `until`."""
        self.quiesce_by = until
        if not self.tell({"do": "quiesce"}):
            self.quiesced = True

    def resume(self) -> None:
        """Let its timers go on: the replacement did not come."""
        if self.quiesce_by is not None:
            self.quiesce_by = None
            self.quiesced = False
            self.tell({"do": "resume"})

    def drain(self, why: str, timeout: float, kill_at: float) -> None:
        """Ask it to let go of its connections and end; sooner, when asked again.

        Its queue is its own to empty when no other process will serve this socket.
        """
        spec = self.group.spec
        self.state = State.DRAINING
        self.kill_at = kill_at
        stopping = why == "stop"
        grace = 0.0 if stopping else min(spec.drain_grace, timeout / 2)
        spread = 0.0 if stopping else min(spec.drain_spread, timeout / 2)
        self.tell(
            {
                "do": "drain",
                "reason": why,
                "timeout": timeout,
                "grace": grace,
                "spread": spread,
                "last": stopping or self._sock is not self.slot.sock,
            }
        )

    def became_ready(self, now: float) -> None:
        """Note that start hooks, loop and listener are up."""
        self.state = State.READY
        self.ready_at = self.last_beat = self._silent_from = now

    def heard(self, stats: dict[str, Any], now: float) -> None:
        """Note a beat."""
        self.beat = checked_stats(stats)
        self.last_beat = self._silent_from = now
        if self.state in LIVE:
            self.state = State.READY

    def forgive(self, now: float) -> None:
        """Start all clocks again: the master itself did not run for a while."""
        self.last_beat = self._silent_from = now

    def check(self, now: float) -> bool:
        """Judge the silence; answer whether the worker has just been found hung."""
        if self.state not in LIVE or now - self.last_beat <= SILENCE:
            return False
        if self.pid is not None and osproc.process_state(self.pid) in ("T", "t"):
            self.state = State.STOPPED
            self._silent_from = now
            return False
        self.state = State.BUSY
        limit = self.group.spec.hang_timeout
        if limit is None or now - self._silent_from <= limit:
            return False
        self.state = State.HUNG
        self.signal(signal.SIGABRT)
        self.kill_at = now + KILL_DELAY
        return True

    def signal(self, number: int) -> None:
        """Send a signal, if the process is provably ours and not yet reaped."""
        if self.pid is None or self.state is State.GONE:
            return
        if self.generation.relays:
            self.generation.tell({"do": "kill", "pid": self.pid, "signal": number})
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close(self) -> None:
        """Close the channel and the log pipe."""
        self.state = State.GONE
        self.channel.close()
        self.outlet.close()
