"""Adapters for code that was written for Workerman.

A Workerman protocol is three functions: `input` tells the length of the first message,
`decode` makes a value of it, `encode` makes bytes of a value. Ported to Python as they are,
`from_workerman` turns them into a protocol of Longline:

    class JsonLines:
        @staticmethod
        def input(buffer: bytes, connection) -> int:
            return buffer.find(b"\\n") + 1

        @staticmethod
        def decode(message: bytes, connection): ...

        @staticmethod
        def encode(value, connection) -> bytes: ...

    register_protocol("jsonlines", from_workerman(JsonLines))
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

from .errors import ConfigurationError, RemoteProtocolError

__all__ = ["WorkermanProtocol", "from_workerman"]

_FIRST_LOOK = 512
"""Bytes that `input` sees first; most messages of such protocols are shorter."""


class WorkermanProtocol(Protocol):
    """What `from_workerman` adapts: static methods or not, as the author likes.

    `connection` is no live connection but a namespace that lasts as long as the connection,
    for whatever the protocol wants to remember; it begins with an empty namespace `context`,
    where Workerman's protocols keep their state. A protocol cannot send, close or consume
    bytes on its own: it answers, and the connection acts.
    """

    def input(self, buffer: bytes, connection: SimpleNamespace) -> int:
        """Tell where the first message of `buffer` ends.

        Args:
            buffer: The first bytes that wait, not always all of them; when they do not
                suffice, `input` is asked again with more.
            connection: The namespace of this connection.

        Returns:
            The total length of the message in bytes, header included, which may exceed
            what is there; 0 when it cannot be told yet; a negative number to refuse the peer.
        """

    def decode(self, message: bytes, connection: SimpleNamespace) -> Any:
        """Return the value of one message, which has exactly the length that `input` told."""

    def encode(self, message: Any, connection: SimpleNamespace) -> bytes:
        """Return the bytes of one value."""


def from_workerman(cls: type[Any]) -> type[Any]:
    """Adapt a protocol of Workerman's shape for `register_protocol`.

    Args:
        cls: A class with `input`, `decode` and `encode` (see `WorkermanProtocol`); one
            instance is made a connection, without arguments.

    Returns:
        A class with `decode` and `encode` as `longline.protocols.codec.UserProtocol` wants
        them. An answer of `input` that is negative or no int refuses the peer.

    Raises:
        ConfigurationError: A method is missing.
    """
    for method in ("input", "decode", "encode"):
        if not callable(getattr(cls, method, None)):
            raise ConfigurationError(f"{cls!r} has no method {method!r}")
    namespace = {"_original": cls, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls.__name__, (_Adapted,), namespace)


class _Adapted:
    """One connection's instance of an adapted protocol."""

    _original: ClassVar[type[Any]]

    def __init__(self) -> None:
        self._protocol: WorkermanProtocol = self._original()
        self._connection = SimpleNamespace(context=SimpleNamespace())
        self._length = 0
        """Length of the message in progress, 0 while `input` has not told it."""

    def decode(self, buffer: memoryview) -> tuple[Any, int] | int | None:
        """Take one message from the front of `buffer` (see `UserProtocol.decode`)."""
        length = self._length or self._measure(buffer)
        if length == 0:
            return None
        if length > len(buffer):
            self._length = length
            return length
        self._length = 0
        return self._protocol.decode(bytes(buffer[:length]), self._connection), length

    def encode(self, message: Any) -> bytes:
        """Return the bytes of one message."""
        return self._protocol.encode(message, self._connection)

    def _measure(self, buffer: memoryview) -> int:
        """Ask `input` for the length of the first message; 0 when more bytes are needed.

        It sees a front that doubles until it suffices, as if the bytes had arrived that way.
        Copying all that waits would cost the square of it when it is many small messages.
        """
        look = _FIRST_LOOK
        while True:
            length = self._protocol.input(bytes(buffer[:look]), self._connection)
            if type(length) is not int:
                raise RemoteProtocolError(f"input returned {type(length).__name__}, not int")
            if length < 0:
                raise RemoteProtocolError("input refused the bytes")
            if length > 0 or look >= len(buffer):
                return length
            look *= 2
