"""Signals as data: handlers only wake the loop, which asks what came.

The interpreter writes the number of each signal to a pipe (`signal.set_wakeup_fd`); nothing
else happens in signal context. A storm of one signal is one entry of the set that `take`
returns, so a thousand reloads asked for in a second are one.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["SignalQueue"]

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the interpreter has already written the number to the wake-up pipe."""


class SignalQueue:
    """The signals that arrived since the last look, each at most once."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, _wake)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        # The command line blocked them, lest one arrive while this interpreter was starting.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a signal came."""
        return self._read

    def take(self) -> set[signal.Signals]:
        """Return the signals that came since the last call."""
        numbers: set[int] = set()
        try:
            while chunk := os.read(self._read, 4096):
                numbers.update(chunk)
        except BlockingIOError:
            pass
        # A full pipe may have swallowed a SIGCHLD: looking for dead children is always safe.
        numbers.add(signal.SIGCHLD)
        return {signal.Signals(number) for number in numbers if number in HANDLED}

    def close(self) -> None:
        """Give the signals back to their default actions and close the pipe."""
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)
