"""The master's way of waiting: descriptors and what to do when they are readable."""

from __future__ import annotations

import selectors
import traceback
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Reactor", "Source"]


class Source(Protocol):
    """Anything with a descriptor to wait on."""

    def fileno(self) -> int:
        """Return the descriptor, below 0 when it is closed."""


class Reactor:
    """A `selectors` loop of one turn at a time.

    Args:
        broken: Told of a source whose callback raised, and the traceback. One message that
            nobody thought of must not end the service.
    """

    def __init__(self, broken: Callable[[Source, str], None]) -> None:
        self._broken = broken
        self._selector = selectors.DefaultSelector()

    def watch(self, source: Source, callback: Callable[[], None]) -> None:
        """Call `callback` in each turn in which `source` is readable."""
        self._selector.register(source, selectors.EVENT_READ, callback)

    def unwatch(self, source: Source) -> None:
        """Stop watching; harmless when it is not watched. To be called before it is closed."""
        if source.fileno() >= 0 and source in self._selector.get_map():
            self._selector.unregister(source)

    def turn(self, timeout: float) -> None:
        """Wait at most `timeout` seconds and serve what is readable."""
        for key, _ in self._selector.select(timeout):
            # A callback before this one may have closed what became readable.
            watched = self._selector.get_map()
            if key.fd in watched and watched[key.fd] is key:
                try:
                    key.data()
                except Exception:
                    self._broken(cast("Source", key.fileobj), traceback.format_exc())

    def close(self) -> None:
        """Forget every source."""
        self._selector.close()
