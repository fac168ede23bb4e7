"""Request bodies: one small reader for each way in which RFC 9112 section 6 ends them.

A reader moves what belongs to the body out of the connection's buffer as it arrives, and
leaves what follows. Reading a body is apart from reading the head: whoever holds a reader
decides when to feed it and when to take what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..._core import ChunkedReader
from ...errors import OversizeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._core import RequestHead

__all__ = ["NO_BODY", "BodyReader", "ChunkedBody", "NoBody", "SizedBody", "open_body"]


class BodyReader(Protocol):
    """What the three readers have in common."""

    @property
    def received(self) -> int:
        """Bytes of the body that arrived so far."""

    @property
    def held(self) -> int:
        """Bytes that arrived and were not taken yet."""

    @property
    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        """Fields that came behind the body, as bytes."""

    def feed(self, buffer: bytearray) -> bool:
        """Move the body's bytes off the front of `buffer`; whether the body is whole now.

        Raises:
            RemoteProtocolError: The framing is malformed, or the body too large.
        """

    def take(self) -> bytes:
        """Return what arrived since the last call, and forget it."""


class NoBody:
    """The body of a request that has none."""

    received = 0
    held = 0
    trailers: Sequence[tuple[bytes, bytes]] = ()

    def feed(self, buffer: bytearray) -> bool:
        """Take nothing: the body is whole."""
        return True

    def take(self) -> bytes:
        """Return nothing."""
        return b""


NO_BODY = NoBody()
"""The one instance: it has no state."""


class SizedBody:
    """A body whose length was announced; RFC 9112 section 6.2."""

    __slots__ = ("_data", "_length", "received")

    trailers: Sequence[tuple[bytes, bytes]] = ()

    def __init__(self, length: int) -> None:
        self._length = length
        self._data = bytearray()
        self.received: int = 0

    @property
    def held(self) -> int:
        """Bytes that arrived and were not taken yet."""
        return len(self._data)

    def feed(self, buffer: bytearray) -> bool:
        """Move at most as many bytes as are missing; whether none is now."""
        missing = self._length - self.received
        if len(buffer) <= missing:
            self.received += len(buffer)
            self._data += buffer
            buffer.clear()
        else:
            self._data += buffer[:missing]
            self.received = self._length
            del buffer[:missing]
        return self.received == self._length

    def take(self) -> bytes:
        """Return what arrived since the last call, and forget it."""
        data = bytes(self._data)
        self._data = bytearray()
        return data


class ChunkedBody:
    """A body in chunks; RFC 9112 section 7.1."""

    __slots__ = ("_reader",)

    def __init__(self, max_body_bytes: int | None) -> None:
        self._reader = ChunkedReader(max_body_bytes)

    @property
    def received(self) -> int:
        """Bytes of data that arrived so far; framing is not counted."""
        return self._reader.received

    @property
    def held(self) -> int:
        """Bytes that arrived and were not taken yet."""
        return len(self._reader.body)

    @property
    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        """Fields that came behind the last chunk, as bytes."""
        return self._reader.trailers

    def feed(self, buffer: bytearray) -> bool:
        """Move whatever belongs to the chunks and trailers; whether the end was there.

        Raises:
            RemoteProtocolError: As `ChunkedReader.feed`.
        """
        used = self._reader.feed(buffer)
        del buffer[:used]
        return self._reader.done

    def take(self) -> bytes:
        """Return what arrived since the last call, and forget it."""
        data = bytes(self._reader.body)
        self._reader.body.clear()
        return data


def open_body(head: RequestHead, max_body_bytes: int | None) -> BodyReader:
    """Return the reader of the body that a head announces.

    Raises:
        OversizeError: The announced length is above `max_body_bytes`.
    """
    if head.chunked:
        return ChunkedBody(max_body_bytes)
    if head.content_length == 0:
        return NO_BODY
    if max_body_bytes is not None and head.content_length > max_body_bytes:
        raise OversizeError(f"a body of more than {max_body_bytes} bytes (max_body_bytes)")
    return SizedBody(head.content_length)
