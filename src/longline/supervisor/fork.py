"""Forking a worker, and what the fresh process does before it is one.

On Linux the worker is forked twice: the process between dies at once, and the kernel hands
the worker to the nearest sub-reaper, which is the master (prctl(2), PR_SET_CHILD_SUBREAPER).
So the master sees true exit statuses while the template may come and go. Elsewhere the
template stays the parent and relays exits.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from .. import osproc
from ..errors import StartError
from ..exitcode import EXIT_BUG, EXIT_START
from . import privilege
from .channel import Channel
from .childlog import configure_child_logging, finish_output
from .link import WorkerLink

if TYPE_CHECKING:
    from .channel import Message
    from .template import Family

__all__ = [
    "ExitRelay",
    "adopt_socket",
    "die_with_parent",
    "enter",
    "fork",
    "kill_own_child",
    "serve",
    "set_title",
]


_log = logging.getLogger("longline")


def adopt_socket(fd: int) -> socket.socket:
    """Return the inherited socket `fd`, closed on exec from now on."""
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)


def set_title(text: str) -> None:
    """Show the process as `longline: text` in ps and top."""
    import setproctitle

    setproctitle.setproctitle(f"longline: {text}")


def fork(*, double: bool) -> bool:
    """Fork a worker; True in the worker, False in the template."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not double:
        return pid == 0
    if pid:
        os.waitpid(pid, 0)
        return False
    try:
        grandchild = os.fork()
    except OSError:
        # The worker's ends of its pipes close with this process: the master sees a failed start.
        os._exit(EXIT_START)
    if grandchild:
        os._exit(0)
    return True


def die_with_parent(parent: int, number: int) -> None:
    """Ask for a signal when `parent` dies; exit now if it did already.

    The signal is set after every change of identity, which clears it (prctl(2)).
    """
    deadline = time.monotonic() + 5
    # A twice-forked child is handed over within microseconds; polling it is the only way.
    while os.getppid() != parent and time.monotonic() < deadline:
        time.sleep(0.0005)
    osproc.set_parent_death_signal(number)
    if os.getppid() != parent:
        os._exit(1)


def kill_own_child(pid: int, number: int) -> None:
    """Signal `pid` for the master, if it is an unreaped child of this process."""
    if osproc.is_own_child(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class ExitRelay:
    """Exits of this process's children, readable like a descriptor."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._read

    def take(self) -> list[tuple[int, int]]:
        """Reap what is dead: pids and wait statuses."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        exits = []
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                exits.append(found)
        return exits

    def has_children(self) -> bool:
        """Whether a child is left, alive or not yet reaped."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def close(self) -> None:
        """Forget the template's wake-up pipe in a forked worker."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)


def enter(message: Message, order: dict[str, Any]) -> WorkerLink:
    """Become a worker process, before any of its code runs: identity, log, signals, hello.

    Exits when it cannot be, with the reason told to the master.
    """
    try:
        return _enter(message, order)
    except StartError as error:
        _log.error("%s cannot start: %s", message.body["worker"], error)
        os._exit(EXIT_START)
    except BaseException:
        _log.critical("%s cannot start", message.body["worker"], exc_info=True)
        os._exit(EXIT_BUG)


def _enter(message: Message, order: dict[str, Any]) -> WorkerLink:
    body = message.body
    # Ctrl+C reaches the whole terminal group: only the master acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    channel_fd, log_fd, *listeners = message.fds
    set_title(f"worker {body['worker']}#{body['slot']} {body['listen'] or ''}".rstrip())
    configure_child_logging(log_fd, order["log_level"], redirect=order["redirect"])
    os.close(order["log"])
    faulthandler.enable(file=log_fd, all_threads=True)
    parent = os.getppid() if order["relays"] else order["master"]
    sockets = [socket.socket(fileno=fd) for fd in listeners]
    link = WorkerLink(Channel(adopt_socket(channel_fd)), body, sockets, parent)
    if body["user"]:
        _become(body["user"], link)
    osproc.restrict_core_dumps()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(parent, signal.SIGTERM)
    link.hello()
    return link


def serve(family: Family, name: str, link: WorkerLink) -> NoReturn:
    """Run the worker's code to its end: never returns."""
    code = EXIT_BUG
    try:
        code = family.run_worker(name, link)
    except StartError as error:
        _log.error("%s cannot start: %s", name, error)
        code = EXIT_START
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EXIT_BUG
    except BaseException:
        _log.critical("%s#%s failed", name, link.slot, exc_info=True)
    finally:
        finish_output()
        logging.shutdown()
        # Not sys.exit: the frames above belong to the template's script, and must not unwind.
        os._exit(code)


def _become(user: str, link: WorkerLink) -> None:
    """Take on the worker's own user; when that fails, the master is told why.

    Raises:
        StartError: There is no such user, or this process may not become it.
    """
    try:
        privilege.drop(privilege.resolve(user))
    except StartError as error:
        link.failed(str(error), "")
        raise
