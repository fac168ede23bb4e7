"""Asking a running service: the other end of the control socket.

Whether a service runs is known from the lock that its master holds, never from the pid file.
Nothing here sends a signal: what a command wants, the master does itself, and a command that
takes long (`stop`, `reload`) is waited for as long as the master turns its loop.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Self

from .. import osproc
from ..errors import ControlError, NotRunningError
from .channel import Channel, ChannelError
from .control import peer_uid
from .pidfile import InstanceLock, process_matches, read_pid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rundir import RunDirectory

__all__ = ["ANSWER_TIMEOUT", "Client", "ConnectionList"]

ANSWER_TIMEOUT = 5.0
"""Seconds within which a master that turns its loop has answered."""
GONE_TIMEOUT = 10.0
"""Seconds that the master may take to leave after it answered a stop."""
ENDING_TIMEOUT = 1.0
"""Seconds that a master which closes its connections gets until it is gone."""
PROBE_INTERVAL = 5.0
"""Seconds of silence after which a waiting command asks whether the master still lives."""
SILENCE = 0.7
"""Seconds without a datagram after which no worker is expected to answer any more."""
SILENCE_OF_STUCK = 0.2
"""The same, when the master already knows that those who are missing do not answer."""
OVERALL = 1.5
"""Seconds after which a list of connections is shown as far as it came (Q-12)."""

_MAX_REPLY_BYTES = 8 * 1024 * 1024
_MAX_DATAGRAM = 64 * 1024
_RETRY_DELAY = 0.02


class Client:
    """One conversation with a master: one command, one answer.

    Use `connect`. A client is a context manager that closes itself.
    """

    def __init__(self, rundir: RunDirectory, name: str, sock: socket.socket) -> None:
        self.pid: int | None = _peer_pid(sock, rundir)
        """The master's pid; None when the system cannot say."""
        self._start_time = osproc.start_time(self.pid) if self.pid else None
        self._rundir = rundir
        self._name = name
        self._channel = Channel(sock, _MAX_REPLY_BYTES)

    def __str__(self) -> str:
        return f"{self._name} (pid {self.pid or '?'})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def connect(
        cls, rundir: RunDirectory, name: str = "the service", timeout: float = ANSWER_TIMEOUT
    ) -> Client:
        """Connect to the master of a run directory.

        Args:
            rundir: Where the service keeps its lock and socket.
            name: What messages call the service, such as its script's name.
            timeout: Seconds to wait for a master that holds the lock but does not listen yet.

        Raises:
            NotRunningError: Nobody holds the lock.
            ControlError: The master cannot be reached, or is not one that we may trust.
        """
        deadline = time.monotonic() + timeout
        while InstanceLock.is_held(rundir.lock):
            sock = _try_connect(rundir, name)
            if sock is not None:
                return cls(rundir, name, sock)
            if time.monotonic() >= deadline:
                pid = _pid_in_file(rundir) or "?"
                raise ControlError(
                    f"{name} (pid {pid}) holds its lock but takes no command within {timeout:g} s"
                )
            time.sleep(_RETRY_DELAY)
        stale = _pid_in_file(rundir)
        note = f"; the pid file names process {stale}, which is not it" if stale else ""
        raise NotRunningError(f"{name} is not running{note}")

    def ask(
        self,
        command: str,
        timeout: float | None = ANSWER_TIMEOUT,
        fds: Sequence[int] = (),
        **arguments: Any,
    ) -> dict[str, Any]:
        """Send a command and return the answer, whether it is `ok` or not.

        Args:
            command: One of `control.COMMANDS`.
            timeout: Seconds to wait; None waits as long as the master turns its loop.
            fds: Descriptors to send along; they stay the caller's.
            **arguments: Further keys of the request.

        Raises:
            ControlError: No answer came in time, or the master ended without one.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        probe_at = time.monotonic() + PROBE_INTERVAL
        try:
            self._channel.send({"command": command, **arguments}, fds)
            while True:
                now = time.monotonic()
                until = probe_at if deadline is None else deadline
                for message in self._channel.receive_within(until - now):
                    for fd in message.fds:
                        os.close(fd)
                    return message.body
                if deadline is not None and time.monotonic() >= deadline:
                    raise ControlError(f"{self} does not answer within {timeout:g} s")
                if deadline is None and time.monotonic() >= probe_at:
                    self._probe(command)
                    probe_at = time.monotonic() + PROBE_INTERVAL
        except ChannelError:
            raise ControlError(f"{self} ended without an answer to {command}") from None

    def stop(self, *, graceful: bool = False) -> None:
        """Stop the service; return when its master is gone, and with it every process (P-15).

        Raises:
            ControlError: It did not stop; the text says how far it came.
        """
        reply = self.ask("stop", timeout=None, graceful=graceful)
        if reply.get("ok") is not True:
            raise ControlError(str(reply.get("error") or f"{self} refused to stop"))
        if not self.wait_gone(GONE_TIMEOUT):
            raise ControlError(f"{self} said that it stopped, and is still there")

    def wait_gone(self, timeout: float) -> bool:
        """Wait until the lock is free and the process gone; False when `timeout` s passed."""
        deadline = time.monotonic() + timeout
        while InstanceLock.is_held(self._rundir.lock) or self._process_is_there():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_DELAY)
        return True

    def connections(self) -> ConnectionList:
        """Collect the connections of every worker that answers.

        Raises:
            ControlError: The master refused, or does not answer.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            # Workers share one open file: a full queue must not make any of them wait.
            theirs.setblocking(False)
            reply = self.ask("connections", fds=[theirs.fileno()])
            if reply.get("ok") is not True:
                raise ControlError(str(reply.get("error") or f"{self} refused"))
            found = ConnectionList(reply.get("workers"))
            found.collect(ours)
        return found

    def close(self) -> None:
        """End the conversation; the command goes on."""
        self._channel.close()

    def _process_is_there(self) -> bool:
        return self.pid is not None and process_matches(self.pid, self._start_time or 0)

    def _probe(self, command: str) -> None:
        """Make sure that the master still answers others while it is busy for us."""
        try:
            with Client.connect(self._rundir, self._name) as other:
                other.ask("status", ANSWER_TIMEOUT)
        except NotRunningError:
            # Its end shows on our own channel.
            return
        except ControlError:
            # A master that is just ending closes the probe's connection, too.
            if not self.wait_gone(ENDING_TIMEOUT):
                reason = f"{self} does not answer any more; {command} stays asked"
                raise ControlError(reason) from None


class ConnectionList:
    """What the workers say of their connections, and which of them said nothing.

    Args:
        workers: The workers that were asked, as the master lists them.
    """

    def __init__(self, workers: Any) -> None:
        self.rows: list[dict[str, Any]] = []
        listed = workers if isinstance(workers, list) else []
        self._missing = {row.get("pid"): row for row in listed if isinstance(row, dict)}

    @property
    def silent(self) -> list[dict[str, Any]]:
        """The workers whose list did not come, or not whole: `pid`, `worker`, `state`."""
        return list(self._missing.values())

    def collect(self, sock: socket.socket) -> None:
        """Read datagrams until each worker said its last, or too long nothing."""
        end = time.monotonic() + OVERALL
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        while self._missing:
            stuck = all(row.get("state") != "ready" for row in self._missing.values())
            silence = SILENCE_OF_STUCK if stuck else SILENCE
            patience = min(silence, end - time.monotonic())
            if patience <= 0 or not poll.poll(patience * 1000):
                return
            self._take(sock.recv(_MAX_DATAGRAM))

    def _take(self, datagram: bytes) -> None:
        """Take one datagram; a worker is not trusted to write what it should."""
        try:
            body = json.loads(datagram)
            pid, rows, last = body["pid"], body["rows"], body["last"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if type(pid) is not int or pid not in self._missing or not isinstance(rows, list):
            return
        self.rows += [row for row in rows if isinstance(row, dict)]
        if last is True:
            del self._missing[pid]


def _try_connect(rundir: RunDirectory, name: str) -> socket.socket | None:
    """Connect once; None while the master does not listen, or has no room."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(os.fspath(rundir.socket))
        uid = peer_uid(sock)
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        sock.close()
        return None
    except OSError as error:
        sock.close()
        reason = error.strerror or error
        raise ControlError(f"cannot reach {name} at {rundir.socket}: {reason}") from None
    if uid not in (None, 0, os.geteuid()):
        sock.close()
        raise ControlError(f"{name} runs as another user (uid {uid}): ask it as that user")
    return sock


def _peer_pid(sock: socket.socket, rundir: RunDirectory) -> int | None:
    """Return the master's pid: the kernel's word where it gives one, else the pid file's."""
    if hasattr(socket, "SO_PEERCRED"):
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        # 0: the master lives in a pid namespace that we cannot see.
        return int(struct.unpack("3i", raw)[0]) or None
    return _pid_in_file(rundir)


def _pid_in_file(rundir: RunDirectory) -> int | None:
    """Return the pid in the pid file, for a message; None without a file that can be trusted."""
    with contextlib.suppress(ControlError):
        content = read_pid(rundir.pidfile)
        return content[0] if content else None
    return None
