"""What connections log: at most so many lines a minute, then a count.

One client can make a handler raise, or break a protocol, thousands of times a second; a log
that grows with the attack is an attack of its own. The first lines of every minute are
written in full, the others counted, and one line at the end of the minute says how many.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tcp import Connection

__all__ = ["Reporter"]

_log = logging.getLogger("longline")


class Reporter:
    """Logs the failures of one process's connections, rate-limited.

    Args:
        per_minute: Lines that are written in full, of each kind, in one minute.
    """

    __slots__ = ("_handle", "_left", "_per_minute", "_skipped")

    PERIOD = 60.0

    def __init__(self, per_minute: int = 20) -> None:
        self._per_minute = per_minute
        self._left: dict[str, int] = {}
        self._skipped: dict[str, int] = {}
        self._handle: asyncio.TimerHandle | None = None

    def failure(self, conn: Connection, error: BaseException) -> None:
        """Log what a handler raised, with its traceback and whose connection it was."""
        if self._admit("handler errors"):
            _log.error("a handler failed on %s", conn.identity, exc_info=error)

    def refusal(self, conn: Connection, reason: str, error: Exception) -> None:
        """Log why a peer is refused."""
        if self._admit("refused peers"):
            _log.info("%s: %s, closing: %s", conn.identity, reason, error)

    def timeout(self, conn: Connection, reason: str) -> None:
        """Log that a peer was too slow."""
        if self._admit("slow peers"):
            _log.info("%s: closed, %s", conn.identity, reason)

    def unanswered(self, conn: Connection) -> None:
        """Log that a handler did not answer in time: our fault, not the peer's."""
        if self._admit("unanswered requests"):
            _log.warning("%s: no answer within response_timeout, closed with 503", conn.identity)

    def close(self) -> None:
        """Write what was counted and stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._summarise()

    def _admit(self, kind: str) -> bool:
        if self._handle is None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(self.PERIOD, self._summarise)
        left = self._left.get(kind, self._per_minute)
        if left:
            self._left[kind] = left - 1
            return True
        self._skipped[kind] = self._skipped.get(kind, 0) + 1
        return False

    def _summarise(self) -> None:
        self._handle = None
        self._left.clear()
        skipped, self._skipped = self._skipped, {}
        for kind, count in skipped.items():
            _log.warning("%d more %s in the last minute were not logged", count, kind)
