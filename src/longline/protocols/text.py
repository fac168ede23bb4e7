"""text: one line of UTF-8 is one message (Workerman: Protocols/Text). Works with telnet.

Carriage returns before the line feed are dropped from what arrives; what is sent ends in a
bare line feed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core import LineReader
from ..errors import LocalProtocolError, RemoteProtocolError
from .codec import FEED_BATCH, Codec
from .tcp import to_bytes

if TYPE_CHECKING:
    from .._types import Buffer
    from ..limits import Limits

__all__ = ["LineCodec", "Text"]


class LineCodec(Codec):
    """A codec whose messages are lines of at most `max_message_bytes`, whatever they hold."""

    __slots__ = ("_error", "_reader")

    def __init__(self, limits: Limits) -> None:
        self._reader = LineReader(limits.max_message_bytes)
        self._error: RemoteProtocolError | None = None

    @property
    def buffered(self) -> int:
        return self._reader.buffered

    def feed(self, data: Buffer) -> list[Any]:
        """Return the messages of the lines that are complete.

        Raises:
            OversizeError: A line is too long, finished or not.
            RemoteProtocolError: A line holds no message.
        """
        if self._error is not None:
            raise self._error
        events: list[Any] = []
        try:
            for line in self._reader.feed(data, FEED_BATCH):
                message = self.decode_line(line)
                events.append(message)
        except RemoteProtocolError as error:
            self._error = error
            if not events:
                raise
        return events

    def decode_line(self, line: bytes) -> Any:
        """Return the message of one line, given without its line feed.

        Raises:
            RemoteProtocolError: The line holds no message.
        """
        raise NotImplementedError


class Text(LineCodec):
    """Messages are `str`, without their line ends."""

    __slots__ = ()

    def decode_line(self, line: bytes) -> str:
        """Return a line as text, without the carriage returns at its end."""
        try:
            return str(line.rstrip(b"\r"), "utf-8")
        except UnicodeDecodeError:
            raise RemoteProtocolError("a line is not UTF-8") from None

    def encode(self, message: Any) -> bytes:
        """Return the line of a `str`, or of bytes-like UTF-8.

        Raises:
            TypeError: The message is neither.
            LocalProtocolError: The message has a line feed inside, or lone surrogates.
        """
        line = to_bytes(message)
        if b"\n" in line:
            raise LocalProtocolError("a line feed inside a message would make it two")
        return line + b"\n"
