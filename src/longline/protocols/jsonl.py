"""jsonl: one line of JSON is one message, whatever value it holds.

A line is a JSON text of RFC 8259 in UTF-8; an empty line is none. Of two equal keys the last
one counts.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import json

from ..errors import LocalProtocolError, RemoteProtocolError
from .text import LineCodec

__all__ = ["JsonLines", "encode_json"]


class JsonLines(LineCodec):
    """Messages are what JSON holds: dict, list, str, int, float, bool, None."""

    __slots__ = ()

    accepts: ClassVar[tuple[type, ...]] = (dict, list, str, int, float)

    def decode_line(self, line: bytes) -> Any:
        """Return the value of one line."""
        try:
            return json.decode(line)
        except RecursionError:
            raise RemoteProtocolError("a line of JSON nests too deep") from None
        except ValueError:
            # msgspec's errors and UnicodeDecodeError alike; their text may quote the peer.
            raise RemoteProtocolError("a line is not JSON") from None

    def encode(self, message: Any) -> bytes:
        """Return the line of any value that JSON can express.

        Raises:
            TypeError, LocalProtocolError: As `encode_json`.
        """
        return encode_json(message) + b"\n"


def encode_json(message: Any) -> bytes:
    """Return a value as compact JSON, which never holds a line feed.

    Besides plain values msgspec's types are understood: dataclasses, `datetime`, `UUID` and
    the like. A float that is no number becomes null, as in JavaScript.

    Raises:
        TypeError: The value, or one inside it, has a type that JSON lacks; so do bytes,
            unless inside another value, where they become base64.
        LocalProtocolError: The value nests too deep or in a circle, an integer is too long,
            or text has lone surrogates.
    """
    if isinstance(message, bytes | bytearray | memoryview):
        raise TypeError("JSON has no bytes: decode them first")
    try:
        return json.encode(message)
    except RecursionError:
        raise LocalProtocolError("the value nests too deep for JSON") from None
    except ValueError as error:
        raise LocalProtocolError(f"JSON cannot express the value: {error}") from None
