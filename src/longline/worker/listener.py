"""Taking connections from one listening socket, within bounds.

A burst is accepted in slices, so that established connections get their turn. Where no
descriptor is left, a reserved one lets us accept and close one peer at once, which tells it
more than silence would, and accepting rests for a while that doubles up to a second: a level-
triggered socket would otherwise wake a full process for ever.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["Listener"]

_log = logging.getLogger("longline")

SLICE = 64
"""Most connections taken in one turn of the loop."""
LAST_LOOKS = 64
"""Slices that are taken from a queue which is about to be closed: 4,096 connections."""
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
FIRST_REST = 0.1
LONGEST_REST = 1.0
COMPLAIN_EVERY = 60.0


class Listener:
    """One listening socket of this process.

    Args:
        sock: Listening and non-blocking; closed by `close`.
        admit: Called with each accepted socket; False refuses it, and it is closed.
    """

    def __init__(self, sock: socket.socket, admit: Callable[[socket.socket], bool]) -> None:
        self._sock = sock
        self._admit = admit
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        self._rest = FIRST_REST
        self._resting: asyncio.TimerHandle | None = None
        self._complain_at = 0.0
        self._reserve = _open_reserve()
        self.overloads: int = 0
        """Times that no descriptor was left."""

    @property
    def sock(self) -> socket.socket:
        """The listening socket."""
        return self._sock

    def start(self) -> None:
        """Take connections; harmless when it already does."""
        if not self._accepting and self._resting is None:
            self._accepting = True
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def stop(self) -> None:
        """Take no more; the kernel's queue keeps filling. Harmless when stopped."""
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._sock.fileno())
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def accept_waiting(self) -> None:
        """Take what waits in the kernel's queue now, before the socket is closed."""
        for _ in range(LAST_LOOKS):
            if self._accepting:
                self._accept()

    def close(self) -> None:
        """Stop, and close this process's copy of the socket."""
        self.stop()
        self._sock.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _accept(self) -> None:
        for _ in range(SLICE):
            if not self._accepting:
                return
            try:
                peer, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._overloaded()
                else:
                    # Linux passes on what the network said of the new peer (accept(2)).
                    self._complain(f"accepting failed: {error}")
                self._take_a_rest()
                return
            self._rest = FIRST_REST
            peer.setblocking(False)
            if not self._admit(peer):
                peer.close()

    def _overloaded(self) -> None:
        self.overloads += 1
        self._complain("no descriptor is left: new connections have to wait")
        self._turn_one_away()

    def _complain(self, text: str) -> None:
        now = self._loop.time()
        if now >= self._complain_at:
            self._complain_at = now + COMPLAIN_EVERY
            _log.error(text)

    def _take_a_rest(self) -> None:
        self.stop()
        self._resting = self._loop.call_later(self._rest, self._resume)
        self._rest = min(self._rest * 2, LONGEST_REST)

    def _turn_one_away(self) -> None:
        if self._reserve is None:
            return
        os.close(self._reserve)
        try:
            peer, _ = self._sock.accept()
            peer.close()
        except OSError:
            _log.debug("the reserved descriptor was taken by someone else")
        self._reserve = _open_reserve()

    def _resume(self) -> None:
        self._resting = None
        if self._reserve is None:
            self._reserve = _open_reserve()
        self.start()


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
