"""What systemd asks of a service: sd_notify(3) and sd_listen_fds(3), without its library.

Notifying never fails aloud: a service must not die, and must not wait, because nobody
listens to its state.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from ..errors import StartError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["Notifier", "take_listen_fds"]

_FIRST_FD = 3
_MAX_FDS = 1024
_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_NOTIFY_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_MAX_STATUS = 1024


class Notifier:
    """Tells systemd how the service is; does nothing where no systemd listens.

    Args:
        environ: Where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are taken from. They are
            removed, since only the master may speak for the service.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.variables: dict[str, str] = {
            name: value
            for name in _NOTIFY_VARIABLES
            if (value := environ.pop(name, None)) is not None
        }
        """What was taken, for a master that executes itself anew."""
        self.failures: int = 0
        self.watchdog_interval: float | None = self._half_watchdog()
        """Seconds between two calls of `watchdog`, None when nobody asks for them."""
        self._address = self._socket_address()
        self._socket: socket.socket | None = None

    @property
    def enabled(self) -> bool:
        """Whether somebody listens."""
        return self._address is not None

    def _half_watchdog(self) -> float | None:
        interval = _whole_number(self.variables.get("WATCHDOG_USEC", ""))
        meant_for = self.variables.get("WATCHDOG_PID")
        # sd_watchdog_enabled(3): the variables may be meant for another process.
        if meant_for is not None and _whole_number(meant_for) != os.getpid():
            return None
        # It recommends half of the time, so that one late turn is forgiven.
        return interval / 2 / 1_000_000 if interval else None

    def _socket_address(self) -> str | None:
        path = self.variables.get("NOTIFY_SOCKET", "")
        if path.startswith("@"):
            # An abstract name begins with a zero byte on the wire (unix(7)).
            return "\0" + path[1:]
        return path if path.startswith("/") else None

    def ready(self, status: str = "") -> None:
        """Say that the service is up: after the start, and after a reload."""
        self._send("READY=1", status)

    def reloading(self) -> None:
        """Say that a reload began; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", more=f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        """Say that the service is going down."""
        self._send("STOPPING=1", status)

    def watchdog(self) -> None:
        """Say that the master's loop still turns."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send("", text)

    def extend(self, seconds: float) -> None:
        """Ask for at least `seconds` more for the start, reload or stop under way."""
        self._send(f"EXTEND_TIMEOUT_USEC={max(1, int(seconds * 1_000_000))}")

    def close(self) -> None:
        """Give up the socket; later calls open another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, state: str, status: str = "", more: str = "") -> None:
        if self._address is None:
            return
        # A line feed would begin another assignment.
        text = " ".join(status[:_MAX_STATUS].splitlines())
        lines = [state, more, f"STATUS={text}" if text else ""]
        payload = "\n".join(line for line in lines if line)
        if not payload:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto(payload.encode("utf-8", "backslashreplace"), self._address)
        except OSError:
            self.failures += 1


def take_listen_fds(
    environ: MutableMapping[str, str] | None = None,
) -> list[tuple[str, socket.socket]]:
    """Take the sockets that systemd opened for this process.

    Args:
        environ: Where the LISTEN_ variables are; they are removed in any case, so that no
            child takes the sockets for its own.

    Returns:
        Name (`FileDescriptorName=`, "" without one) and socket each, non-blocking and closed
        on exec, in systemd's order. Empty when the variables are meant for another process.

    Raises:
        StartError: A descriptor is no socket, or a stream socket that does not listen
            (`Accept=yes`).
    """
    environ = os.environ if environ is None else environ
    values = {name: environ.pop(name, "") for name in _LISTEN_VARIABLES}
    count = _whole_number(values["LISTEN_FDS"])
    if _whole_number(values["LISTEN_PID"]) != os.getpid() or not count:
        return []
    if count > _MAX_FDS:
        raise StartError(f"LISTEN_FDS announces {count} sockets, more than {_MAX_FDS}")
    names = values["LISTEN_FDNAMES"].split(":")
    if len(names) != count:
        names = [""] * count
    taken: list[tuple[str, socket.socket]] = []
    try:
        for fd, name in enumerate(names, _FIRST_FD):
            taken.append((name, _adopt(fd)))
    except StartError:
        for _, sock in taken:
            sock.close()
        raise
    return taken


def _adopt(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(
            f"descriptor {fd} of socket activation is no socket: {error.strerror}"
        ) from None
    if sock.type == socket.SOCK_STREAM:
        listening = 1
        # Not every system can be asked.
        with contextlib.suppress(OSError, AttributeError):
            listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if not listening:
            sock.close()
            raise StartError(
                f"descriptor {fd} of socket activation does not listen: "
                f"the socket unit needs Accept=no"
            )
    sock.setblocking(False)
    return sock


def _whole_number(text: str) -> int:
    """Return a plain decimal number, 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
