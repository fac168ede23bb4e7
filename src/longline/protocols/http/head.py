"""The request head: where it ends, and its fields as a mapping."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..._core import parse_head
from ...errors import OversizeError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..._core import RequestHead
    from ...limits import Limits

__all__ = ["HeadReader", "Headers"]

# Linear: one byte with one byte of look-behind.
_BARE_LF = re.compile(rb"(?<!\r)\n")


class HeadReader:
    """Finds the end of each head while it arrives, and never looks at a byte twice for it.

    Sizes and line ends are judged as the bytes come, in their order, so that the verdict is
    the same for every split. What the head says is judged when it is whole.
    """

    __slots__ = (
        "_blank_skipped",
        "_line_ended",
        "_max_head_bytes",
        "_max_headers",
        "_max_request_line",
        "_scanned",
    )

    def __init__(self, limits: Limits) -> None:
        self._max_request_line = limits.max_request_line
        self._max_head_bytes = limits.max_head_bytes
        self._max_headers = limits.max_headers
        self._scanned = 0
        self._line_ended = False
        self._blank_skipped = False

    def read(self, buffer: bytearray) -> RequestHead | None:
        """Take one head off the front of `buffer`; None when it is not whole yet.

        Raises:
            RemoteProtocolError: As `parse_head`; the buffer is left in any state.
            OversizeError: The request line (414) or the head (431) is too long.
        """
        if not self._blank_skipped and buffer.startswith(b"\r\n"):
            # RFC 9112 section 2.2: one empty line before a request is forgiven.
            del buffer[:2]
            self._blank_skipped = True
            self._scanned = 0
        start = self._scanned - 3 if self._scanned > 3 else 0
        end = buffer.find(b"\r\n\r\n", start, self._max_head_bytes)
        if end < 0:
            self._judge_beginning(buffer)
            return None
        if end > self._max_request_line and not self._line_ended:
            self._judge_request_line(buffer)
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        self._scanned = 0
        self._line_ended = self._blank_skipped = False
        return parse_head(head, self._max_headers)

    def _judge_beginning(self, buffer: bytearray) -> None:
        """Refuse a head that cannot become a good one whatever comes next."""
        if not self._line_ended:
            self._judge_request_line(buffer)
        if _BARE_LF.search(buffer, self._scanned, self._max_head_bytes):
            # Without this a client that ends its lines with LF would wait for the time-out.
            raise RemoteProtocolError("a line that does not end with CR LF")
        if len(buffer) >= self._max_head_bytes:
            raise OversizeError(
                f"a head of more than {self._max_head_bytes} bytes (max_head_bytes)", status=431
            )
        self._scanned = len(buffer)

    def _judge_request_line(self, buffer: bytearray) -> None:
        window = self._max_request_line + 2
        if buffer.find(b"\n", self._scanned, window) >= 0:
            self._line_ended = True
        elif window <= len(buffer) and window <= self._max_head_bytes:
            raise OversizeError(
                f"a request line of more than {self._max_request_line} bytes (max_request_line)",
                status=414,
            )


class Headers(Mapping[str, str]):
    """Header fields by name, in any case of letters; values are decoded when asked for.

    Bytes are decoded as Latin-1, so that every value has a text and every text its bytes.
    Several fields of one name are one value, joined with ", " (RFC 9110 section 5.3), Cookie
    with "; " (RFC 9113 section 8.2.3). Set-Cookie cannot be joined: its first value counts,
    and `get_all` has the others. Iteration gives each name once, in lower case.

    Args:
        fields: Names and values as bytes; blanks around the values are not part of them.
    """

    __slots__ = ("_fields", "_index")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._fields = list(fields)
        self._index: dict[bytes, list[bytes]] | None = None

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Return every field in order, as bytes, names as they were spelt."""
        return [(name, value.strip(b" \t")) for name, value in self._fields]

    def get_all(self, name: str) -> list[str]:
        """Return the value of every field of that name, in order; an empty list if none."""
        return [value.decode("latin-1") for value in self._find(name)]

    def __getitem__(self, name: str) -> str:
        values = self._find(name)
        if not values:
            raise KeyError(name)
        if len(values) > 1:
            key = _key(name)
            if key != b"set-cookie":
                return (b"; " if key == b"cookie" else b", ").join(values).decode("latin-1")
        return values[0].decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._find(name))

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._indexed())

    def __len__(self) -> int:
        return len(self._indexed())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw!r})"

    def _find(self, name: str) -> list[bytes]:
        return self._indexed().get(_key(name), [])

    def _indexed(self) -> dict[bytes, list[bytes]]:
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self._fields:
                index.setdefault(name.lower(), []).append(value.strip(b" \t"))
        return index


def _key(name: str) -> bytes:
    # ASCII rules, on bytes: the Kelvin sign is no k. "?" is in no name, so what ASCII cannot
    # express is found nowhere.
    return name.encode("ascii", "replace").lower()
