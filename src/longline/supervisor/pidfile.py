"""Proof that a service runs, and which process it is.

The proof is a lock that the master holds on an open file for its life: the kernel lets go of
it when the process ends, however it ends. The pid file only says whom to signal. Its text is
`<pid> <start time>`, and it counts only while that very process exists, so a pid that was
used again is never signalled (P-10). Nobody else may be able to write what we read there: a
link, a second name, a pipe, another owner or an open directory is refused by name (Q-2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from pathlib import Path

from .. import osproc
from ..errors import ControlError, StartError

__all__ = [
    "AlreadyHeld",
    "InstanceLock",
    "process_matches",
    "read_pid",
    "remove_pid",
    "write_pid",
]

_MAX_PIDFILE_BYTES = 64
_LOCK_ATTEMPTS = 10
_LOCK_RETRY_DELAY = 0.02
_OPEN_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class AlreadyHeld(StartError):
    """Another process holds the lock: the service runs already."""


class InstanceLock:
    """The lock of one service, held from `acquire` until `release` or the process's end.

    A forked child shares it and has to `release` its copy, or the lock outlives the master;
    that takes nothing from the master. A child that executes a program loses it by itself.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, lock_path: str | Path) -> InstanceLock:
        """Take the lock, making its file when it is missing.

        Raises:
            AlreadyHeld: Another process has it.
            StartError: The file is not one that we may trust, or cannot be made.
        """
        for attempt in range(_LOCK_ATTEMPTS):
            if attempt:
                # `is_held` takes the lock for a moment; that must not look like a service.
                time.sleep(_LOCK_RETRY_DELAY)
            descriptor = _open_lock(lock_path)
            held = False
            try:
                held = _try_lock(descriptor, fcntl.LOCK_EX) and _is_still_at(lock_path, descriptor)
            except OSError as error:
                raise StartError(f"cannot use the lock {lock_path}: {error.strerror}") from None
            finally:
                if not held:
                    os.close(descriptor)
            if held:
                return cls(descriptor)
        raise AlreadyHeld(f"the service runs already: another process holds {lock_path}")

    @staticmethod
    def is_held(lock_path: str | Path) -> bool:
        """Return whether a process holds the lock.

        Raises:
            ControlError: We may not look.
        """
        try:
            descriptor = os.open(lock_path, os.O_RDONLY | _OPEN_SAFELY)
            try:
                return not _try_lock(descriptor, fcntl.LOCK_SH)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ControlError(f"cannot look at the lock {lock_path}: {error.strerror}") from None

    def fileno(self) -> int:
        """Return the descriptor that carries the lock."""
        return self._descriptor

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would race."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_lock(path: str | Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN_SAFELY, 0o600)
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StartError(f"cannot use the lock {path}: {reason}") from None
    problem = _file_problem(os.fstat(descriptor))
    if problem:
        os.close(descriptor)
        raise StartError(f"cannot use the lock {path}: {problem}")
    return descriptor


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_at(path: str | Path, descriptor: int) -> bool:
    """Return whether the path still names the file that we locked."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def write_pid(path: str | Path, pid: int, start_time: int) -> None:
    """Write the pid file: under another name first, then moved into place.

    Args:
        path: The file.
        pid: The master's pid.
        start_time: Its start in clock ticks since boot, 0 where the system cannot tell.

    Raises:
        StartError: What is there already is no pid file of ours (it is left alone), its
            directory is open to others, or it cannot be written.
    """
    path = Path(path)
    problem = _directory_problem(path.parent) or _existing_problem(path)
    if problem:
        raise StartError(f"cannot write the pid file {path}: {problem}")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o640)
        try:
            os.write(descriptor, f"{pid} {start_time}\n".encode("ascii"))
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise StartError(f"cannot write the pid file {path}: {error.strerror}") from None


def read_pid(path: str | Path) -> tuple[int, int] | None:
    """Return pid and start time from a pid file, None when there is none.

    Raises:
        ControlError: The file or its directory cannot be trusted, or the text is not what
            we write; the message names the reason.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | _OPEN_SAFELY)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise ControlError(f"will not read the pid file {path}: {reason}") from None
    try:
        problem = _file_problem(os.fstat(descriptor)) or _directory_problem(path.parent)
        if problem:
            raise ControlError(f"will not read the pid file {path}: {problem}")
        return _parse(path, os.read(descriptor, _MAX_PIDFILE_BYTES + 1))
    finally:
        os.close(descriptor)


def _parse(path: Path, content: bytes) -> tuple[int, int]:
    words = content.removesuffix(b"\n").split(b" ")
    if len(content) <= _MAX_PIDFILE_BYTES and len(words) == 2 and all(map(bytes.isdigit, words)):
        pid, start_time = int(words[0]), int(words[1])
        # Signals to pid 1 and to 0 (our own process group) have other meanings; a service
        # that is pid 1 itself writes it, and only a start time can vouch for that.
        if pid > 1 or (pid == 1 and start_time > 0):
            return pid, start_time
    raise ControlError(f"the pid file {path} holds no pid and start time")


def remove_pid(path: str | Path, pid: int) -> bool:
    """Remove the pid file when it still names `pid`; return whether it was removed."""
    try:
        content = read_pid(path)
        if content is None or content[0] != pid:
            return False
        os.unlink(path)
    except (ControlError, OSError):
        # It is not ours any more, and what is not ours stays.
        return False
    return True


def process_matches(pid: int, start_time: int) -> bool:
    """Return whether the process that a pid file names is alive, and no later one.

    A zombie does not count. With `start_time` 0 the system could not tell, and a process of
    that pid is all that can be found: the caller needs the lock as second witness.
    """
    if start_time:
        return osproc.start_time(pid) == start_time and osproc.process_state(pid) not in ("Z", "X")
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _existing_problem(path: Path) -> str | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror
    return _file_problem(status)


def _file_problem(status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_nlink != 1:
        return "it has a second name (hard link)"
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to another user (uid {status.st_uid})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write it"
    return None


def _directory_problem(directory: Path) -> str | None:
    try:
        status = os.stat(directory)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if status.st_uid not in (0, os.geteuid()):
        return f"its directory belongs to another user (uid {status.st_uid})"
    # Under the sticky bit only the owner of a file may remove or rename it.
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
        return "others may write its directory"
    return None
