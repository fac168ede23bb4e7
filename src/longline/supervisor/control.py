"""The control socket: a fixed list of commands for this service's owner and root.

A request is one frame (`channel`), a JSON object with a `command`; the answer is another one,
perhaps much later (`stop` and `reload` answer when they are done). There is no command that
runs code or takes a path. A descriptor may come along, which workers write rows to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from ..errors import StartError
from .channel import Channel, ChannelError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COMMANDS", "ControlServer", "Request", "peer_uid"]

COMMANDS = ("status", "connections", "stop", "reload", "reopen")
MAX_REQUEST_BYTES = 64 * 1024
MAX_CLIENTS = 128
REQUEST_TIMEOUT = 5.0


def peer_uid(sock: socket.socket) -> int | None:
    """Return the user id at the other end of a Unix socket; None where the system cannot say."""
    if hasattr(socket, "SO_PEERCRED"):
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[1])
    return None


class Request:
    """One client of the control socket: at most one command, at most one answer."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.channel: Channel = Channel(sock, MAX_REQUEST_BYTES)
        self.deadline: float | None = now + REQUEST_TIMEOUT
        self.body: dict[str, Any] = {}
        self.fds: list[int] = []
        self.done: bool = False

    @property
    def command(self) -> str:
        """The command, "" while none has come."""
        command = self.body.get("command")
        return command if isinstance(command, str) else ""

    def read(self) -> bool:
        """Take what came; True when there is a command to obey."""
        try:
            messages = self.channel.receive()
        except ChannelError:
            self.done = True
            return False
        fresh = bool(messages) and not self.body
        if fresh:
            self.body, self.fds = messages.pop(0)
            self.deadline = None
        for message in messages:
            for fd in message.fds:
                os.close(fd)
        return fresh

    def reply(self, **body: Any) -> None:
        """Answer; the connection is closed once the answer is out."""
        self.done = True
        with contextlib.suppress(ChannelError):
            self.channel.send(body)

    def refuse(self, reason: str, **more: Any) -> None:
        """Answer that the command was not done."""
        self.reply(ok=False, error=reason, **more)

    def close(self) -> None:
        """Close the connection and the descriptors that came along."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.channel.close()


class ControlServer:
    """Accepts control clients; the supervisor's loop waits on its descriptors."""

    def __init__(self, path: str, obey: Callable[[Request], None]) -> None:
        self._obey = obey
        self.requests: list[Request] = []
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            # Only the holder of the instance lock gets here: what lies there is stale.
            os.unlink(path)
        self.sock: socket.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self.sock.bind(path)
        except OSError as error:
            self.sock.close()
            raise StartError(f"the control socket {path} cannot be made: {error}") from error
        finally:
            os.umask(mask)
        self.sock.listen(MAX_CLIENTS)
        self.sock.setblocking(False)
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def accept(self, now: float) -> Request | None:
        """Take one client, if it may ask at all."""
        try:
            sock, _ = self.sock.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_one_away()
            return None
        if peer_uid(sock) not in (None, 0, os.geteuid()) or len(self.requests) >= MAX_CLIENTS:
            sock.close()
            return None
        request = Request(sock, now)
        self.requests.append(request)
        return request

    def _turn_one_away(self) -> None:
        """Use up a reserved descriptor: a client that waits would wake us for ever."""
        os.close(self._reserve)
        with contextlib.suppress(OSError):
            self.sock.accept()[0].close()
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def serve(self, request: Request) -> None:
        """Read from a client and obey what it asks."""
        if not request.read():
            return
        if request.command not in COMMANDS:
            request.refuse("there is no such command")
            return
        self._obey(request)

    def finished(self, now: float) -> list[Request]:
        """Take out the clients to close: answered, gone, or silent for too long."""
        over = [request for request in self.requests if self._is_over(request, now)]
        for request in over:
            self.requests.remove(request)
        return over

    @staticmethod
    def _is_over(request: Request, now: float) -> bool:
        if request.done and request.deadline is None:
            # Whoever does not take its answer shall not hold a place, and our attention, for ever.
            request.deadline = now + REQUEST_TIMEOUT
        if request.deadline is not None and now > request.deadline:
            return True
        try:
            return request.done and request.channel.flush()
        except ChannelError:
            return True

    def close(self) -> None:
        """Stop listening and remove the socket."""
        for request in self.requests:
            request.close()
        self.sock.close()
        os.close(self._reserve)
        with contextlib.suppress(OSError):
            os.unlink(self.path)
