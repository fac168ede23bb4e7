"""Piping: what one connection receives, another one sends.

A pipe is the source's message handler. It holds the source while the target has more than
its high-water mark queued, so the memory of a transfer is bounded however long it is. The end
of the source's stream is handed on behind the last byte: as an end of stream when the target
is piped back and may still have something to say, else by closing both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .tcp import Connection

__all__ = ["Pipe"]


class Pipe:
    """One direction between two connections; made by `Connection.pipe`."""

    __slots__ = ("source", "target")

    in_loop: ClassVar[bool] = True
    """Never run in a pool of threads."""

    def __init__(self, source: Connection, target: Connection) -> None:
        self.source: Connection = source
        self.target: Connection = target

    def __call__(self, conn: Connection, message: Any) -> None:
        """Send what the source received; hold the source when the target is full."""
        target = self.target
        if target.state != "open":
            return
        target.send(message)
        if target._full():
            self.hold()

    def hold(self) -> None:
        """Stop the source."""
        self.source._hold_for_pipe()

    def release(self) -> None:
        """Let the source go on."""
        self.source._release_from_pipe()

    def both_ways(self) -> bool:
        """Tell whether the target is piped back to the source and still reads."""
        return self.target._answers_to(self.source)

    def source_gone(self) -> None:
        """Close the target behind what it was sent."""
        self.target._shut("pipe")
        self.detach()

    def target_gone(self) -> None:
        """Close the source, which has nobody to feed any more."""
        self.source._shut("pipe")
        self.detach()

    def detach(self) -> None:
        """Forget each other."""
        self.target._lose_feeder(self)
        self.source._unpipe()
