"""Files as answers: opened safely, sent in pieces.

`O_NONBLOCK` keeps a FIFO somebody put there from blocking the loop in `open`; only regular
files are sent. A piece is read in a thread while the one before is on its way, and the next
one waits for room, so a slow client costs one piece of memory.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PIECE_BYTES", "SMALL_BYTES", "FileSource", "open_regular"]

PIECE_BYTES = 256 * 1024
"""Bytes read at once, and the most that one transfer holds in memory."""

SMALL_BYTES = 64 * 1024
"""Files up to this size are read in the loop: quicker than asking a thread."""


class FileSource:
    """An open regular file and its size; whoever makes one closes it.

    Args:
        descriptor: Of a regular file; owned from now on.
        size: Its size when it was opened: what the answer's head announces.
    """

    __slots__ = ("_descriptor", "_reading", "offset", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._reading: asyncio.Future[bytes] | None = None
        self.size: int = size
        self.offset: int = 0

    def read_now(self) -> bytes:
        """Read all that is left, in this thread.

        Raises:
            OSError: The file cannot be read.
        """
        return self._read(self.size - self.offset)

    async def read_piece(self) -> bytes:
        """Read the next piece in a thread; empty at the end, or when the file has shrunk.

        Raises:
            OSError: The file cannot be read.
        """
        loop = asyncio.get_running_loop()
        wanted = min(PIECE_BYTES, self.size - self.offset)
        self._reading = loop.run_in_executor(None, self._read, wanted)
        # A cancelled sender must not close the descriptor under the thread that reads it.
        return await asyncio.shield(self._reading)

    def close(self) -> None:
        """Close the file, as soon as nobody reads it."""
        if self._reading is None or self._reading.done():
            os.close(self._descriptor)
        else:
            self._reading.add_done_callback(self._close_later)

    def _close_later(self, reading: asyncio.Future[bytes]) -> None:
        # Looking at the error keeps asyncio from complaining that nobody did.
        reading.cancelled() or reading.exception()
        os.close(self._descriptor)

    def _read(self, wanted: int) -> bytes:
        pieces = []
        while wanted > 0:
            piece = os.pread(self._descriptor, wanted, self.offset)
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
            self.offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def open_regular(path: Any, opener: Callable[..., int] = os.open) -> FileSource | None:
    """Open a file for sending.

    Returns:
        None when it does not exist, cannot be read, or is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = opener(path, flags)
    except (OSError, ValueError):
        return None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        return None
    return FileSource(descriptor, facts.st_size)
