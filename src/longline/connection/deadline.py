"""One timer for all deadlines of a process's connections.

Each connection has at most one entry: the next instant at which it wants to be looked at.
Entries lie in buckets of `resolution` seconds; a heap knows the order of the buckets and one
`call_at` waits for the first. Asking for a *later* instant than the entry is free: the entry
fires early, the connection says when it really wants to be looked at, and is filed again.
Traffic therefore never touches the wheel.

Deadlines are coarse (up to `resolution` late) and never early.
"""

from __future__ import annotations

import heapq
import logging
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["NEVER", "DeadlineWheel", "Deadlined"]

_log = logging.getLogger("longline")

NEVER = math.inf
"""What `on_deadline` returns when there is nothing to wait for."""


class Deadlined(Protocol):
    """What the wheel files: anything hashable by identity with these two."""

    _armed: int

    def on_deadline(self, now: float) -> float:
        """Act on what is due at `now`; return the next instant to be called at, or `NEVER`."""


class DeadlineWheel:
    """Files connections by their next deadline.

    Args:
        loop: The loop whose clock and timer are used.
        resolution: Width of a bucket, in seconds.
    """

    __slots__ = ("_buckets", "_count", "_handle", "_keys", "_loop", "_resolution", "_wake", "lag")

    def __init__(self, loop: asyncio.AbstractEventLoop, resolution: float = 0.05) -> None:
        self._loop = loop
        self._resolution = resolution
        self._buckets: dict[int, set[Deadlined]] = {}
        self._keys: list[int] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._wake = 0
        self.lag: float = 0.0
        """Seconds by which the bucket that fires now is late: a busy loop shows here."""

    def __len__(self) -> int:
        return self._count

    @property
    def resolution(self) -> float:
        """Width of a bucket in seconds."""
        return self._resolution

    @property
    def running(self) -> bool:
        """Whether a loop timer is pending; never with an empty wheel."""
        return self._handle is not None

    def arm(self, entry: Deadlined, when: float) -> None:
        """Have `entry` looked at, at `when` or as soon after it as the wheel can tell.

        An entry that is filed for an earlier instant stays there: it is looked at then.
        """
        if when == NEVER:
            return
        key = math.ceil(when / self._resolution) or 1
        if entry._armed:
            if entry._armed <= key:
                return
            self.remove(entry)
        entry._armed = key
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = set()
            heapq.heappush(self._keys, key)
            self._wind()
        bucket.add(entry)
        self._count += 1

    def remove(self, entry: Deadlined) -> None:
        """Forget an entry; nothing happens when it is not filed."""
        bucket = self._buckets.get(entry._armed)
        entry._armed = 0
        if bucket is not None and entry in bucket:
            bucket.discard(entry)
            self._count -= 1
            if not self._count:
                self._stop()

    def _wind(self) -> None:
        """Point the loop's timer at the first bucket."""
        first = self._keys[0]
        if self._handle is not None:
            if self._wake <= first:
                return
            self._handle.cancel()
        self._wake = first
        self._handle = self._loop.call_at(first * self._resolution, self._turn)

    def _stop(self) -> None:
        self._buckets.clear()
        self._keys.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _turn(self) -> None:
        """Call every entry whose instant has come, then wait for the next bucket."""
        self._handle = None
        now = self._loop.time()
        while self._keys and self._keys[0] * self._resolution <= now:
            key = heapq.heappop(self._keys)
            self.lag = now - key * self._resolution
            # An entry may remove others of its bucket while it is being called.
            bucket = self._buckets.get(key, set())
            while bucket:
                self._call(bucket.pop(), now)
            self._buckets.pop(key, None)
        self.lag = 0.0
        if not self._count:
            self._stop()
        elif self._handle is None:
            self._wind()

    def _call(self, entry: Deadlined, now: float) -> None:
        entry._armed = 0
        self._count -= 1
        try:
            following = entry.on_deadline(now)
        except Exception:
            _log.exception("a deadline's action failed")
            return
        # Strictly later than this turn, or one entry could spin here for ever.
        self.arm(entry, max(following, now + self._resolution))
