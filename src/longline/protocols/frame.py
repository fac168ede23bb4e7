"""frame: a 4-byte length and a payload (Workerman: Protocols/Frame). Suits binary messages.

The length is big-endian and counts itself: an empty message is 00 00 00 04.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core import LengthReader
from ..errors import LocalProtocolError
from .codec import FEED_BATCH, Codec
from .tcp import to_bytes

if TYPE_CHECKING:
    from .._types import Buffer
    from ..limits import Limits

__all__ = ["Frame"]


class Frame(Codec):
    """Messages are `bytes`; header and payload together are at most `max_message_bytes`."""

    __slots__ = ("_reader",)

    def __init__(self, limits: Limits) -> None:
        self._reader = LengthReader(limits.max_message_bytes)

    @property
    def buffered(self) -> int:
        return self._reader.buffered

    def feed(self, data: Buffer) -> list[Any]:
        """Return the payloads that are complete.

        Raises:
            OversizeError: A header announces more than the limit.
            RemoteProtocolError: A header announces less than its own 4 bytes.
        """
        return self._reader.feed(data, FEED_BATCH)

    def encode(self, message: Any) -> bytes:
        """Return the frame of a bytes-like object, or of a `str` as UTF-8.

        Raises:
            TypeError: The message is neither.
            LocalProtocolError: The length does not fit in 4 bytes, or the text has lone
                surrogates.
        """
        payload = to_bytes(message)
        try:
            return (len(payload) + 4).to_bytes(4, "big") + payload
        except OverflowError:
            raise LocalProtocolError("a frame holds less than 4 GiB") from None
