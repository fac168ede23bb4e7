"""tcp: no framing at all. What arrives together is one message, where a message ends is up
to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import LocalProtocolError
from .codec import Codec

if TYPE_CHECKING:
    from .._types import Buffer
    from ..limits import Limits

__all__ = ["Tcp", "to_bytes"]


class Tcp(Codec):
    """Pass bytes through; `gapless`, since a lost chunk would corrupt the stream."""

    __slots__ = ()

    gapless: ClassVar[bool] = True

    def __init__(self, limits: Limits) -> None:
        pass

    def feed(self, data: Buffer) -> list[Any]:
        """Return the chunk as one `bytes`, or nothing for no bytes."""
        return [bytes(data)] if len(data) else []

    def encode(self, message: Any) -> bytes:
        """Return the bytes of a bytes-like object, or a `str` as UTF-8.

        Raises:
            TypeError: The message is neither.
            LocalProtocolError: The text has lone surrogates.
        """
        return to_bytes(message)


def to_bytes(message: Any) -> bytes:
    """Return a bytes-like message as `bytes`, and a `str` as UTF-8.

    Raises:
        TypeError: The message is neither.
        LocalProtocolError: The text has lone surrogates, which UTF-8 cannot express.
    """
    if isinstance(message, str):
        try:
            return message.encode()
        except UnicodeEncodeError:
            raise LocalProtocolError("the text has lone surrogates") from None
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    raise TypeError(f"a message is str or bytes-like, not {type(message).__name__}")
