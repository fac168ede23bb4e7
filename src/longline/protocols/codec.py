"""The contract of a protocol, and the registry of schemes.

Two shapes exist. Users write the small one (`Protocol`): a class, one instance a
connection, whose `decode` looks at the bytes that are there and takes one message, and
whose `encode` turns one message into bytes. Connections speak the other one (`Codec`):
`feed` takes what the socket gave and returns events. `UserCodec` makes the second of the
first. Our own protocols are codecs from the start, since they can keep offsets and states
between two reads.

Neither shape ever sees a socket, a loop, a clock or a connection. Errors are raised; the
connection decides what becomes of the peer.
"""

from __future__ import annotations

from contextlib import suppress
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from ..address import is_scheme
from ..errors import ConfigurationError, IncompleteError, OversizeError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._types import Buffer
    from ..limits import Limits

__all__ = [
    "FEED_BATCH",
    "Codec",
    "CodecFactory",
    "UserCodec",
    "UserProtocol",
    "check_protocol",
    "codec_factory",
    "register_protocol",
]

FEED_BATCH = 64
"""Most events that one `feed` returns, so that a flood of tiny messages is served in turns."""


class Codec:
    """One side of one conversation: bytes in, events out; messages in, bytes out.

    Feeding is lazy. `feed` returns at most `FEED_BATCH` events and keeps the rest of the
    bytes; `feed(b"")` goes on with them; an empty list says that more bytes are needed (or,
    for request/response protocols, that the answer has to be encoded first). Events that
    precede an error are returned before it is raised by the next call. After an error the
    codec is dead: every further `feed` raises the same error.

    Any split of the input gives the same events (`longline.testing.check_codec`).
    """

    __slots__ = ()

    accepts: ClassVar[tuple[type, ...]] = (str, bytes, bytearray, memoryview)
    """Types that `encode` takes: what a handler may return to have it sent."""

    gapless: ClassVar[bool] = False
    """Whether a dropped message would corrupt the stream, so that the connection must close."""

    shares_encoding: ClassVar[bool] = True
    """Whether bytes that one codec encoded are right for every other of its class, so that a
    broadcast may encode once."""

    def feed(self, data: Buffer) -> list[Any]:
        """Take bytes from the peer and return the events that are complete.

        Raises:
            RemoteProtocolError: The peer broke the protocol; the codec is dead.
        """
        raise NotImplementedError

    def eof(self) -> list[Any]:
        """Take the end of the peer's stream and return the last events.

        Raises:
            IncompleteError: The stream ended in the middle of a message.
        """
        if self.buffered:
            raise IncompleteError("the stream ended in the middle of a message")
        return []

    def encode(self, message: Any) -> bytes:
        """Return the bytes of one message.

        Raises:
            TypeError: The message has a type that is not in `accepts`.
            LocalProtocolError: The protocol cannot express the message.
        """
        raise NotImplementedError

    def fail(self, error: RemoteProtocolError) -> bytes:
        """Return the last words to a peer that broke the protocol; usually none."""
        return b""

    @property
    def buffered(self) -> int:
        """Bytes that arrived and belong to no returned event yet.

        A codec that keeps bytes has to say how many: by this figure the connection stops
        reading a peer that sends faster than it is served.
        """
        return 0


CodecFactory: TypeAlias = "Callable[[Limits], Codec]"


@runtime_checkable
class UserProtocol(Protocol):
    """What a user writes for a protocol of their own: a class, one instance a connection.

    Lines that end at a line feed are as short as this:

        class Lines:
            def decode(self, buffer: memoryview):
                end = bytes(buffer).find(b"\\n")
                return None if end < 0 else (bytes(buffer[:end]), end + 1)

            def encode(self, message: bytes) -> bytes:
                return message + b"\\n"

        register_protocol("lines", Lines)
    """

    def decode(self, buffer: memoryview) -> tuple[Any, int] | int | None:
        """Take one message from the front of `buffer`: read-only, valid during the call.

        Returns:
            `(message, consumed)`, with `consumed` > 0 bytes to drop from the front; or the
            total number of bytes to wait for; or None when any further byte may do. Raise to
            refuse the peer.
        """

    def encode(self, message: Any) -> bytes:
        """Return the bytes of one message."""


class UserCodec(Codec):
    """A `Codec` around a `UserProtocol`, proof against whatever its `decode` returns."""

    accepts: ClassVar[tuple[type, ...]] = (object,)
    shares_encoding: ClassVar[bool] = False

    def __init__(self, protocol: UserProtocol, max_message_bytes: int | None) -> None:
        self._protocol = protocol
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._wanted = 1
        self._error: RemoteProtocolError | None = None

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def encode(self, message: Any) -> bytes:
        data: Any = self._protocol.encode(message)
        if isinstance(data, bytes):
            return data
        if isinstance(data, (bytearray, memoryview)):
            return bytes(data)
        name = type(self._protocol).__name__
        raise TypeError(f"{name}.encode returned {type(data).__name__}, not bytes")

    def feed(self, data: Buffer) -> list[Any]:
        if self._error is not None:
            raise self._error
        self._append(data)
        events: list[Any] = []
        start = 0
        try:
            while len(events) < FEED_BATCH and len(self._buffer) - start >= self._wanted:
                taken = self._decode(start)
                if taken is None:
                    break
                message, consumed = taken
                events.append(message)
                start += consumed
                self._wanted = 1
            self._check_size(len(self._buffer) - start, len(events))
        except RemoteProtocolError as error:
            self._error = error
            if not events:
                raise
        finally:
            self._drop(start)
        return events

    # A protocol may have kept a piece of the view that it was lent, which forbids to resize
    # what is behind it. Then the piece keeps the old bytes, and the codec goes on with a copy.

    def _append(self, data: Buffer) -> None:
        try:
            self._buffer += data
        except BufferError:
            self._buffer = self._buffer + data

    def _drop(self, count: int) -> None:
        try:
            del self._buffer[:count]
        except BufferError:
            self._buffer = self._buffer[count:]

    def _decode(self, start: int) -> tuple[Any, int] | None:
        """Ask the protocol once; None when it wants more bytes than there are."""
        view = memoryview(self._buffer).toreadonly()[start:]
        available = len(view)
        try:
            answer: Any = self._protocol.decode(view)
            if isinstance(answer, tuple) and answer and isinstance(answer[0], memoryview):
                answer = (bytes(answer[0]), *answer[1:])
        except RemoteProtocolError:
            raise
        except Exception as error:
            raise RemoteProtocolError(f"decode raised {type(error).__name__}") from error
        finally:
            with suppress(BufferError):  # lent on: see _drop
                view.release()
        return self._judge(answer, available)

    def _judge(self, answer: Any, available: int) -> tuple[Any, int] | None:
        """Return the message of a sound answer, or note how many bytes to wait for."""
        if answer is None:
            self._wanted = available + 1
            return None
        if isinstance(answer, tuple) and len(answer) == 2:
            message, consumed = answer
            if type(consumed) is int and 0 < consumed <= available:
                # Also of a message that came whole: any split must be judged alike.
                self._check_size(consumed, 0)
                return message, consumed
        elif type(answer) is int and answer > available:
            self._wanted = answer
            self._check_size(answer, 0)
            return None
        raise RemoteProtocolError("decode returned neither a message, nor a length to wait for")

    def _check_size(self, waiting: int, found: int) -> None:
        # A full batch leaves messages behind that are complete: their size is judged later.
        limit = self._max_message_bytes
        if limit is not None and waiting > limit and found < FEED_BATCH:
            raise OversizeError(f"no complete message within {limit} bytes (max_message_bytes)")


_factories: dict[str, CodecFactory] = {}


def register_protocol(scheme: str, protocol: Callable[[], UserProtocol] | type[Codec]) -> None:
    """Make `scheme://` addresses speak a protocol of one's own.

    Args:
        scheme: Lower-case ASCII letters, digits and hyphens, starting with a letter.
        protocol: A class with `decode` and `encode` (one instance a connection, made without
            arguments), or a subclass of `Codec` (made with the `Limits` of its Worker).

    Raises:
        ConfigurationError: The scheme is malformed, taken or a short form of another, or the
            class lacks a method.
    """
    if not is_scheme(scheme):
        raise ConfigurationError(
            f"{scheme!r} is no free scheme: lower-case letters, digits and hyphens, "
            "and no short form such as ws, wss, https, tls, unix"
        )
    if scheme in _factories:
        raise ConfigurationError(f"the scheme {scheme!r} is taken")
    if isinstance(protocol, type) and issubclass(protocol, Codec):
        _factories[scheme] = protocol
        return
    check_protocol(protocol)
    make: Callable[[], Any] = protocol
    _factories[scheme] = lambda limits: UserCodec(make(), limits.max_message_bytes)


def check_protocol(protocol: Any) -> None:
    """Refuse what cannot make a `UserProtocol`; of a function only its first call will tell.

    Raises:
        ConfigurationError: It is not callable, or a class that lacks a method or has an async
            one; the text says which.
    """
    if not callable(protocol):
        raise ConfigurationError(f"{protocol!r} is no class; a protocol is made for each peer")
    if not isinstance(protocol, type):
        return
    for name in ("decode", "encode"):
        method = getattr(protocol, name, None)
        if not callable(method):
            raise ConfigurationError(f"{protocol!r} has no method {name!r}")
        if iscoroutinefunction(method):
            raise ConfigurationError(f"{protocol!r}.{name} is async; a protocol never waits")


def codec_factory(scheme: str) -> CodecFactory:
    """Return what makes the codec of `scheme`.

    Raises:
        ConfigurationError: Nobody registered the scheme; the text lists those that exist.
    """
    try:
        return _factories[scheme]
    except KeyError:
        known = ", ".join(sorted(_factories))
        raise ConfigurationError(f"no protocol is named {scheme!r}; there are: {known}") from None
