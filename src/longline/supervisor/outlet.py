"""The reading end of one process's log pipe.

Each process has a pipe of its own, so that a line's pid is what the master knows, not what
the process claims. Lines of ours are records; anything else (a C library's last words, the
stacks of a hung worker) is kept as it came.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from .log import LineBuffer, decode_line

if TYPE_CHECKING:
    from .log import LogWriter

__all__ = ["Outlet"]

READ_BYTES = 65536
LAST_WORDS = 1.0
"""Seconds within which a line may have to do with the end that followed."""


class Outlet:
    """What one process writes to the log, read without ever waiting for it."""

    def __init__(self, fd: int, writer: LogWriter) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._writer = writer
        self._lines = LineBuffer()
        self.pid = 0
        self._last_line = ""
        self._last_at = 0.0

    def fileno(self) -> int:
        """Return the descriptor to wait on, -1 when closed."""
        return self._fd

    def read(self) -> bool:
        """Pass on one read's worth of lines; False at the end of the pipe."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return True
        for line in self._lines.feed(data):
            self._write(line)
        return bool(data)

    def _write(self, line: bytes) -> None:
        record = decode_line(line, self.pid)
        if record.message:
            self._last_line, self._last_at = record.message, time.monotonic()
        self._writer.write(record)

    @property
    def last_words(self) -> str:
        """The last line, if it was written just now: of a process that ended, perhaps why."""
        return self._last_line if time.monotonic() - self._last_at < LAST_WORDS else ""

    def close(self) -> None:
        """Read what is left, within bounds, and close; may be called twice."""
        if self._fd < 0:
            return
        for _ in range(16):
            try:
                data = os.read(self._fd, READ_BYTES)
            except OSError:
                break
            if not data:
                break
            for line in self._lines.feed(data):
                self._write(line)
        rest = self._lines.flush()
        if rest:
            self._write(rest)
        os.close(self._fd)
        self._fd = -1
