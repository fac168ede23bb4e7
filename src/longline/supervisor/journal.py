"""The master's own lines in the log.

The master uses no `logging`: it is the one that writes, and a handler of its own would be a
second way into the same file.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from .log import Record

if TYPE_CHECKING:
    from .log import LogWriter

__all__ = ["Journal"]

INFO, WARNING, ERROR = 20, 30, 40


class Journal:
    """Writes what the master does and sees."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer

    def info(self, message: str) -> None:
        """Note something that goes as it should."""
        self._write(INFO, message, "")

    def warning(self, message: str) -> None:
        """Note something that an operator may want to look at."""
        self._write(WARNING, message, "")

    def error(self, message: str, trace: str = "") -> None:
        """Note something that went wrong."""
        self._write(ERROR, message, trace)

    def _write(self, level: int, message: str, trace: str) -> None:
        self.writer.write(Record(time.time(), level, "master", os.getpid(), message, trace))
