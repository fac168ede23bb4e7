"""Places that log lines go to: a file that is rotated, a terminal that may be stuck.

Neither ever waits, raises or logs about itself once it is open (Q-6): what it could not take
it counts, and says so before the next line that it can. The file is opened with care, at the
start and after every rotation alike (Q-4): as root only in a directory that nobody else can
change, never through a link, and never anything but a regular file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from typing import TYPE_CHECKING

from ..errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Console", "LogFile", "Sink"]

_CHECK_INTERVAL = 1.0
_CONSOLE_CHUNK = 4096  # PIPE_BUF: what a writable pipe takes without waiting (pipe(7))


class Sink:
    """One place to write to: counts what it could not take, and says so when it can again."""

    def __init__(self) -> None:
        self.lost: int = 0
        self._untold = 0
        self._reason = ""
        self._complaint = ""
        self._last_complaint = ""
        self._torn = False

    def _put(self, data: memoryview) -> int:
        """Write some of `data` without waiting; return how much."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up what was opened here."""

    def prepare(self, size: int) -> None:
        """Get ready to take `size` bytes."""

    def complain(self, text: str) -> None:
        """Have something said in the next line, once until it is something else."""
        if text != self._last_complaint:
            self._complaint = self._last_complaint = text

    def notice(self) -> str:
        """Return what this place has to say before its next record, "" for nothing."""
        words = [self._complaint] if self._complaint else []
        if self._untold:
            words.append(f"{self._untold} log records were lost here: {self._reason}")
        return "; ".join(words)

    def write(self, data: bytes) -> None:
        """Write whole lines, or count one record as lost."""
        # What a full disk cut short must not run into the next record.
        view = memoryview(b"\n" + data if self._torn else data)
        whole = len(view)
        try:
            while view:
                view = view[self._put(view) :]
        except OSError as error:
            self.lost += 1
            self._untold += 1
            self._reason = error.strerror or type(error).__name__
            self._torn = self._torn or len(view) < whole
        else:
            self._untold = 0
            self._complaint = ""
            self._torn = False


class Console(Sink):
    """A terminal, pipe or socket that somebody else may have stopped reading.

    The descriptor cannot be made non-blocking: the flag is shared with the shell that gave it
    to us. So each chunk is asked for first. A terminal calls itself writable with room for one
    byte and then waits with the others; it is opened a second time, with a flag of our own.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._own = _open_terminal(descriptor)
        self._descriptor = descriptor if self._own is None else self._own
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)

    def _put(self, data: memoryview) -> int:
        events = [] if self._descriptor < 0 else self._poll.poll(0)
        if not events:
            raise BlockingIOError(errno.EAGAIN, "nobody reads the terminal")
        if not events[0][1] & select.POLLOUT:
            raise OSError(errno.EIO, "the terminal is gone")
        return os.write(self._descriptor, data[:_CONSOLE_CHUNK])

    def close(self) -> None:
        """Leave the terminal to its owner."""
        if self._own is not None:
            os.close(self._own)
            self._own = None
        self._descriptor = -1


def _open_terminal(descriptor: int) -> int | None:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(os.ttyname(descriptor), flags)
    except OSError:
        # No terminal, or not ours to open (su): asking first has to do.
        return None


class LogFile(Sink):
    """The file: opened with care, rotated by size, found again after others rotated it."""

    def __init__(
        self, path: str, max_bytes: int | None, keep: int, clock: Callable[[], float]
    ) -> None:
        super().__init__()
        # A daemon changes its directory.
        self._path = os.path.abspath(path)
        self._max_bytes = None if path == os.devnull else max_bytes
        self._rotate_at = max_bytes or 0
        self._keep = keep
        self._clock = clock
        self._checked = clock()
        self._descriptor = open_log_file(self._path)
        self._size = os.fstat(self._descriptor).st_size

    def prepare(self, size: int) -> None:
        """Look whether the file is still the right one and has room for `size` bytes."""
        if self._descriptor < 0:
            return
        now = self._clock()
        if now - self._checked >= _CHECK_INTERVAL:
            self._checked = now
            self._check()
        if self._max_bytes is not None and 0 < self._size > self._rotate_at - size:
            self._rotate()

    def _put(self, data: memoryview) -> int:
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "the log is closed")
        written = os.write(self._descriptor, data)
        self._size += written
        return written

    def _check(self) -> None:
        """Notice that somebody else renamed, removed or emptied the file."""
        ours = os.fstat(self._descriptor)
        self._size = ours.st_size
        try:
            there = os.lstat(self._path)
        except OSError:
            self.reopen()
            return
        if not os.path.samestat(ours, there):
            self.reopen()

    def reopen(self) -> None:
        """Change over to the file at the path, or keep the present one and complain."""
        if self._descriptor < 0:
            return
        try:
            descriptor = open_log_file(self._path)
        except StartError as error:
            self.complain(str(error))
            return
        self.close()
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._rotate_at = self._max_bytes or 0
        self._torn = False
        self._last_complaint = ""

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _rotate(self) -> None:
        """Rename the file to `.1`, that to `.2` and so on; what falls off the end is gone."""
        try:
            if self._keep < 1:
                os.ftruncate(self._descriptor, 0)
                self._size = 0
                return
            directory = _open_directory(self._path)
        except (OSError, StartError) as error:
            self._postpone(error)
            return
        try:
            name = os.path.basename(self._path)
            for number in range(self._keep - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    _rename(directory, f"{name}.{number}", f"{name}.{number + 1}")
            _rename(directory, name, f"{name}.1")
        except OSError as error:
            self._postpone(error)
            return
        finally:
            os.close(directory)
        self._wait_for_growth()
        self.reopen()

    def _wait_for_growth(self) -> None:
        """Go on in the same file, and rotate when it has grown by its limit once more."""
        self._rotate_at = self._size + (self._max_bytes or 0)

    def _postpone(self, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        self.complain(f"the log could not be rotated: {reason}")
        self._wait_for_growth()


def _rename(directory: int, old: str, new: str) -> None:
    os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)


def _open_directory(path: str) -> int:
    """Open the directory of the log, so that what was examined is what is used (Q-4)."""
    directory = os.path.dirname(path)
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StartError(f"cannot write the log {path}: {directory}: {error.strerror}") from None
    status = os.fstat(descriptor)
    exposed = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    if os.geteuid() == 0 and (status.st_uid != 0 or exposed):
        os.close(descriptor)
        raise StartError(
            f"will not write the log {path} as root: its directory belongs to, or "
            f"may be written by, another user"
        )
    return descriptor


def open_log_file(path: str) -> int:
    """Open a file that this process appends to, perhaps as root (Q-4).

    Raises:
        StartError: It cannot be, or somebody else could make it another file.
    """
    directory = _open_directory(path)
    shared = bool(os.fstat(directory).st_mode & stat.S_IWOTH)
    # O_NONBLOCK: a pipe in the file's place must not stop the start.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        name = os.path.basename(path)
        descriptor = os.open(name, flags | os.O_NOCTTY, 0o640, dir_fd=directory)
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StartError(f"cannot write the log {path}: {reason}") from None
    finally:
        os.close(directory)
    problem = None if path == os.devnull else _file_problem(os.fstat(descriptor), shared)
    if problem:
        os.close(descriptor)
        raise StartError(f"will not write the log {path}: {problem}")
    return descriptor


def _file_problem(status: os.stat_result, shared: bool) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_nlink > 1:
        return "it has a second name (hard link)"
    if shared and status.st_uid not in (0, os.geteuid()):
        return f"it belongs to another user (uid {status.st_uid}) of a shared directory"
    return None
