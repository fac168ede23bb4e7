"""Messages and descriptors between the processes of a family, over a Unix stream socket.

A frame is a 4-byte big-endian length, one byte that counts the descriptors sent with it, and
a JSON object. Descriptors travel as ancillary data of the frame's first byte (unix(7),
SCM_RIGHTS), so they are there when the frame is whole. Everything is bounded before it is
allocated and nothing here ever blocks: the master treats each peer as hostile, and a worker
must not wait for a stopped master.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import LonglineError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Channel", "ChannelClosed", "ChannelError", "Message"]

_HEADER = struct.Struct(">IB")
MAX_FDS = 8
"""Most descriptors in one frame."""
MAX_MESSAGE_BYTES = 1024 * 1024
"""Largest frame that is taken, unless the owner of a channel says otherwise."""
MAX_SENT_BYTES = 8 * 1024 * 1024
MAX_QUEUED_WITH_FDS = 16
"""Most frames that wait while further ones bring descriptors, each kept open meanwhile."""
MAX_QUEUED = 1024
"""Most frames that wait for a peer that does not read."""


class ChannelError(LonglineError):
    """The other side broke the framing, or stopped reading; the channel is of no more use."""


class ChannelClosed(ChannelError):
    """The other side is gone."""


class Message(NamedTuple):
    """One frame: a JSON object and the descriptors that came with it, now ours to close."""

    body: dict[str, Any]
    fds: list[int]


class Channel:
    """One end of a bounded, non-blocking message stream."""

    def __init__(self, sock: socket.socket, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._max = max_message_bytes
        self._inbox = bytearray()
        self._fds: deque[int] = deque()
        self._dropped = 0
        """Frames whose descriptors the kernel could not deliver."""
        self._outbox: deque[tuple[bytes, list[int]]] = deque()

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Return the two sockets of a new channel, both closed on exec."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def fileno(self) -> int:
        """Return the descriptor to wait on, -1 when closed."""
        return self.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether frames wait until the other side reads."""
        return bool(self._outbox)

    def send(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send one frame, or queue it while the other side does not read.

        The descriptors stay the caller's, who may close them at once.

        Raises:
            ChannelClosed: The other side is gone.
            ChannelError: Too many frames wait already, the message is too large, or no
                descriptor is left for copies of `fds`.
        """
        payload = json.dumps(body, separators=(",", ":")).encode()
        if len(payload) > MAX_SENT_BYTES or len(fds) > MAX_FDS:
            raise ChannelError(f"a message of {len(payload)} bytes is too large to send")
        if len(self._outbox) >= MAX_QUEUED or (fds and len(self._outbox) >= MAX_QUEUED_WITH_FDS):
            raise ChannelError("the other side does not read")
        frame = _HEADER.pack(len(payload), len(fds)) + payload
        self._outbox.append((frame, _copies(fds)))
        self.flush()

    def send_all(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send one frame and wait until it is out; for processes that have nothing else to do.

        Raises:
            ChannelClosed, ChannelError: As `send`.
        """
        self.send(body, fds)
        while not self.flush():
            poll = select.poll()
            poll.register(self.sock, select.POLLOUT)
            poll.poll()

    def flush(self) -> bool:
        """Write what the socket takes; answer whether everything is out.

        Raises:
            ChannelClosed: The other side is gone.
        """
        while self._outbox:
            frame, fds = self._outbox[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self.sock.sendmsg([frame], rights)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                raise ChannelClosed(f"the other side is gone: {error.strerror}") from error
            for fd in fds:
                os.close(fd)
            if sent == len(frame):
                self._outbox.popleft()
            else:
                self._outbox[0] = (frame[sent:], [])
        return True

    def receive(self) -> list[Message]:
        """Return the frames that are whole by now, maybe none.

        Raises:
            ChannelClosed: The other side is gone and nothing is left.
            ChannelError: The framing is broken.
        """
        closed = False
        try:
            room = socket.CMSG_SPACE(MAX_FDS * 4)
            data, ancillary, flags, _ = self.sock.recvmsg(65536, room)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            data, ancillary, flags, closed = b"", [], 0, True
        if flags & socket.MSG_CTRUNC:
            # No descriptor is left in this process, or more came than a frame may carry: the
            # kernel dropped some, and their frame is delivered without any.
            self._dropped += 1
            _close(ancillary)
        else:
            self._keep_fds(ancillary)
        if len(self._fds) > 4 * MAX_FDS:
            raise ChannelError("the other side sends descriptors without frames")
        if closed or not data:
            raise ChannelClosed("the other side is gone")
        self._inbox += data
        return self._take_frames()

    def receive_within(self, seconds: float) -> list[Message]:
        """Wait for frames at most `seconds`; an empty list means that none came."""
        messages: list[Message] = []
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if poll.poll(max(0, seconds) * 1000):
            messages = self.receive()
        return messages

    def close(self) -> None:
        """Close the socket and every descriptor that was not taken; may be called twice."""
        for fd in self._fds:
            os.close(fd)
        for _, fds in self._outbox:
            for fd in fds:
                os.close(fd)
        self._fds.clear()
        self._outbox.clear()
        self.sock.close()

    def _keep_fds(self, ancillary: list[Any]) -> None:
        for fd in _descriptors(ancillary):
            os.set_inheritable(fd, False)
            self._fds.append(fd)

    def _take_frames(self) -> list[Message]:
        messages: list[Message] = []
        start = 0
        while len(self._inbox) - start >= _HEADER.size:
            length, count = _HEADER.unpack_from(self._inbox, start)
            if length > self._max or count > MAX_FDS:
                raise ChannelError(f"a frame of {length} bytes is over the limit of {self._max}")
            end = start + _HEADER.size + length
            if len(self._inbox) < end:
                break
            body = self._parse(bytes(self._inbox[start + _HEADER.size : end]))
            if count > len(self._fds):
                if not self._dropped:
                    raise ChannelError("a frame came without its descriptors")
                self._dropped -= 1
                count = 0
            messages.append(Message(body, [self._fds.popleft() for _ in range(count)]))
            start = end
        del self._inbox[:start]
        return messages

    @staticmethod
    def _parse(payload: bytes) -> dict[str, Any]:
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise ChannelError("a frame is not JSON") from error
        if not isinstance(body, dict):
            raise ChannelError("a frame is not a JSON object")
        return body


def _copies(fds: Sequence[int]) -> list[int]:
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))  # noqa: PERF401  # the first ones are closed on failure
    except OSError as error:
        for fd in copies:
            os.close(fd)
        raise ChannelError(f"a descriptor cannot be sent: {error.strerror}") from error
    return copies


def _descriptors(ancillary: list[Any]) -> array.array[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds


def _close(ancillary: list[Any]) -> None:
    for fd in _descriptors(ancillary):
        os.close(fd)
