"""A worker process's side of its channel to the master."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from .channel import ChannelError

if TYPE_CHECKING:
    import socket

    from .channel import Channel, Message

__all__ = ["WorkerLink"]


class WorkerLink:
    """What a worker process knows of its place in the family, and how it reports.

    Reports never block and never fail: when the master is gone, `receive` answers None, and
    the worker ends by itself.
    """

    def __init__(
        self, channel: Channel, order: dict[str, Any], listeners: list[socket.socket], parent: int
    ) -> None:
        self._channel = channel
        self.slot: int = order["slot"]
        self.generation: int = order["generation"]
        self.listeners = listeners
        self.parent = parent

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the master has an order."""
        return self._channel.fileno()

    def hello(self) -> None:
        """Report who this process is, now that the master is its parent."""
        self._send({"event": "hello", "pid": os.getpid()})

    def ready(self) -> None:
        """Report that start hooks, loop and listener are up."""
        self._send({"event": "ready"})

    def failed(self, reason: str, trace: str) -> None:
        """Report why this worker cannot start; it exits next."""
        self._send({"event": "failed", "reason": reason, "traceback": trace[-60_000:]})

    def beat(self, stats: dict[str, Any]) -> None:
        """Report that the loop turns, with the figures that `status` shows."""
        if not self._channel.wants_write:
            self._send({"event": "beat", "stats": stats})
        else:
            # A stopped master reads nothing: the beats that wait already say enough.
            with contextlib.suppress(ChannelError):
                self._channel.flush()

    def quiesced(self) -> None:
        """Report that timers rest, so that a replacement's may start."""
        self._send({"event": "quiesced"})

    def accepting(self, value: bool) -> None:
        """Report whether this process takes connections: paused, or full, it does not."""
        self._send({"event": "accepting", "value": value})

    def declined(self, slot: int) -> None:
        """Report that a lent socket did not arrive: no descriptor is left here."""
        self._send({"event": "declined", "slot": slot})

    def receive(self) -> list[Message] | None:
        """Return the orders that arrived; None when the master is gone."""
        try:
            return self._channel.receive()
        except ChannelError:
            return None

    def _send(self, body: dict[str, Any]) -> None:
        with contextlib.suppress(ChannelError):
            self._channel.send(body)
