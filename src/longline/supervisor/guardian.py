"""The last resort against orphans: a process that outlives a killed master by some seconds.

Workers notice their master's death and end by themselves. One that is stopped, or inside a
long call of a C library, cannot; it would keep the port, and no start would succeed. The
guardian is forked before anything else, holds a pidfd of each worker (pidfd_open(2), so that
a reused pid is never hit), and waits for the end of its pipe. If the master did not say
goodbye before, what is left after a while is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import NoReturn

__all__ = ["Guardian"]

PATIENCE = 4.0
"""Seconds that orphans get to end by themselves; longer than a worker gives itself."""
GOODBYE = b"!"


class Guardian:
    """The master's end: tells the guardian whom to watch."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    @classmethod
    def start(cls) -> Guardian:
        """Fork the guardian, where there is a use for one.

        Without pidfds it could hit the wrong process; and when PID 1 dies, the kernel itself
        ends every process of its namespace.
        """
        if not hasattr(os, "pidfd_open") or os.getpid() == 1:
            return cls(-1)
        read, write = os.pipe()
        if os.fork() == 0:
            _guard(read)
        os.close(read)
        os.set_blocking(write, False)
        return cls(write)

    def watch(self, pid: int) -> None:
        """Have a worker ended if it should outlive the master."""
        self._tell(b"+%d\n" % pid)

    def forget(self, pid: int) -> None:
        """Let go of a worker that has ended."""
        self._tell(b"-%d\n" % pid)

    def dismiss(self) -> None:
        """Say goodbye: the master ends in good order."""
        self._tell(GOODBYE + b"\n")
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _tell(self, line: bytes) -> None:
        if self._pipe >= 0:
            # A guardian that was killed, or does not read, must not harm what it guards.
            with contextlib.suppress(OSError):
                os.write(self._pipe, line)


def _guard(pipe: int) -> NoReturn:
    code = 1
    try:
        _settle(pipe)
        orphans = _attend(pipe)
        if orphans:
            time.sleep(PATIENCE)
        for descriptor in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        code = 0
    finally:
        os._exit(code)


def _settle(pipe: int) -> None:
    """Keep nothing of the master but the pipe, its lock least of all."""
    import setproctitle

    setproctitle.setproctitle("longline: guardian")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    top = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, pipe)
    os.closerange(pipe + 1, top)


def _attend(pipe: int) -> list[int]:
    """Follow the master's words to their end; return pidfds of whom it left behind."""
    watched: dict[int, int] = {}
    rest = b""
    while chunk := os.read(pipe, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line == GOODBYE:
                return []
            pid = int(line[1:])
            if line.startswith(b"+"):
                with contextlib.suppress(OSError):
                    watched[pid] = os.pidfd_open(pid)
            elif pid in watched:
                os.close(watched.pop(pid))
    return list(watched.values())
