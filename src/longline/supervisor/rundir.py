"""Where a service keeps what belongs to one run: control socket, lock and pid file.

    <base>/                         /run/longline, $XDG_RUNTIME_DIR/longline, ...
        <script>-<digest>/          one per script, may be passed through by the service's user
            control/                0700, the master's user: control.sock, lock, pid

The place follows from the script alone, so that `stop` finds what `start` made without
importing anything. Every level that we may create is opened without following a link and
examined through its descriptor: a directory that somebody else made, or may change, is
refused (Q-3), since who owns it decides where our signals and commands go.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import string
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import StartError

__all__ = ["MAX_SOCKET_PATH", "RunDirectory", "locate"]

MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a Unix socket's path: sun_path less its final zero (unix(7))."""

_MAX_STEM = 32
_DIGEST_LENGTH = 10
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The run directory of one service; nothing of it exists before `create`."""

    path: Path

    @property
    def control(self) -> Path:
        """The private directory of the master's user."""
        return self.path / "control"

    @property
    def socket(self) -> Path:
        """The Unix socket on which the master takes commands."""
        return self.control / "control.sock"

    @property
    def lock(self) -> Path:
        """The file that the master holds a lock on for its life."""
        return self.control / "lock"

    @property
    def pidfile(self) -> Path:
        """The file that holds the master's pid and start time."""
        return self.control / "pid"

    def create(self) -> None:
        """Make the directories that are missing and examine all of them.

        Raises:
            StartError: A level is a symbolic link, belongs to somebody else, may be written
                by others or cannot be made, or the socket's path is too long.
        """
        length = len(os.fsencode(self.socket))
        if length > MAX_SOCKET_PATH:
            raise StartError(
                f"the path of the control socket, {self.socket}, has {length} bytes and the "
                f"system allows {MAX_SOCKET_PATH}: set LONGLINE_RUN_DIR to a shorter directory"
            )
        base = self.path.parent
        parent = _open_parent(base)
        try:
            # As root the base is open to passers-by: the service's user has its own part.
            parent = _enter(parent, base, 0o755 if os.geteuid() == 0 else 0o700)
            parent = _enter(parent, self.path, 0o711)
            parent = _enter(parent, self.control, 0o700)
        finally:
            os.close(parent)


def locate(script: str, configured: str | None = None) -> RunDirectory:
    """Return the run directory of a script, without making or asking anything.

    Args:
        script: The path of the application's script; it need not exist any more.
        configured: The base directory; else LONGLINE_RUN_DIR, else the system's place for
            the user.
    """
    # Not the real path: behind a link to the current release it is one service for ever.
    path = os.path.abspath(script)
    stem = os.path.splitext(os.path.basename(path))[0][:_MAX_STEM]
    name = "".join(char if char in _NAME_CHARACTERS else "_" for char in stem) or "app"
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:_DIGEST_LENGTH]
    base = configured or os.environ.get("LONGLINE_RUN_DIR") or _default_base()
    return RunDirectory(Path(os.path.abspath(base)) / f"{name}-{digest}")


def _default_base() -> str:
    user = os.geteuid()
    if user == 0:
        return "/run/longline" if os.path.isdir("/run") else "/var/run/longline"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # After su the variable may still name the directory of the user before.
    if os.path.isabs(runtime) and _belongs_to(runtime, user):
        return os.path.join(runtime, "longline")
    temporary = os.environ.get("TMPDIR", "")
    return os.path.join(temporary if os.path.isabs(temporary) else "/tmp", f"longline-{user}")


def _belongs_to(path: str, user: int) -> bool:
    try:
        return os.stat(path).st_uid == user
    except OSError:
        return False


def _open_parent(base: Path) -> int:
    """Open the directory that the base lies in; it is not ours and may lie behind links."""
    parent = base.parent
    try:
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StartError(
            f"cannot use the run directory {base}: {parent}: {error.strerror}"
            f" (LONGLINE_RUN_DIR names another)"
        ) from None
    status = os.fstat(descriptor)
    replaceable = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    if replaceable or status.st_uid not in (0, os.geteuid()):
        os.close(descriptor)
        raise StartError(
            f"cannot use the run directory {base}: other users could replace it, "
            f"since {parent} is theirs or theirs to write"
        )
    return descriptor


def _enter(parent: int, path: Path, mode: int) -> int:
    """Open (or make) one level below `parent`, which is closed, and return its descriptor.

    When a check fails, `parent` stays open: it is still the caller's to close.
    """
    descriptor = _open_or_make(parent, path, mode)
    problem = _directory_problem(os.fstat(descriptor))
    if problem:
        os.close(descriptor)
        raise StartError(
            f"the run directory {path} {problem}: remove it, or set "
            f"LONGLINE_RUN_DIR to a private directory"
        )
    os.close(parent)
    return descriptor


def _open_or_make(parent: int, path: Path, mode: int) -> int:
    try:
        try:
            os.mkdir(path.name, mode, dir_fd=parent)
        except FileExistsError:
            return os.open(path.name, _OPEN_DIRECTORY, dir_fd=parent)
        descriptor = os.open(path.name, _OPEN_DIRECTORY, dir_fd=parent)
        # mkdir obeys the umask, which says nothing about what the service's user needs.
        os.fchmod(descriptor, mode)
        return descriptor
    except OSError as error:
        # Linux answers ENOTDIR where O_DIRECTORY meets a link, others ELOOP.
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise StartError(
                f"the run directory {path} is a symbolic link or no directory: "
                f"remove it, or set LONGLINE_RUN_DIR"
            ) from None
        raise StartError(
            f"cannot make the run directory {path}: {error.strerror} "
            f"(LONGLINE_RUN_DIR names another place)"
        ) from None


def _directory_problem(status: os.stat_result) -> str | None:
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid})"
    if status.st_mode & _OTHERS_WRITE:
        return f"may be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None
