"""Lines, length-prefixed frames and WebSocket frames: the specification in plain Python.

Three readers of one shape. `feed(data, most)` takes bytes and returns at most `most` things
that are complete; what is left stays inside, and `feed(b"", most)` goes on with it. An empty
list means that more bytes are needed. Things that precede an error are returned first, the
next call raises it, and so does every call after that.

How it stays linear: new bytes are appended to one bytearray, an offset walks over it, and the
consumed front is deleted once a call (CPython moves the start of a bytearray instead of its
bytes). No byte is searched twice: `LineReader` remembers how far it looked. No length off the
wire allocates anything before its bytes have arrived.

WebSocket payloads are not collected here. A data frame is handed over piece by piece as it
arrives, unmasked, so that its reader can refuse bad UTF-8 in the middle of a frame and keep
one growing buffer per message, however many fragments the peer makes of it. Control frames
are at most 125 bytes and come whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ..errors import OversizeError, RemoteProtocolError

if TYPE_CHECKING:
    from .._types import Buffer

__all__ = ["FrameReader", "LengthReader", "LineReader", "Piece", "apply_mask", "encode_frame"]

Piece: TypeAlias = tuple[bool, bool, int, bytes, bool]
"""`(fin, rsv1, opcode, payload, done)`: a part of a frame; `done` marks the frame's last."""


class LineReader:
    """Cut a stream into lines that end in a line feed, which is not part of them.

    Args:
        max_line_bytes: Most bytes before a line feed, or None.
    """

    __slots__ = ("_buffer", "_error", "_max_line_bytes", "_searched")

    def __init__(self, max_line_bytes: int | None) -> None:
        self._max_line_bytes = max_line_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._error: RemoteProtocolError | None = None

    @property
    def buffered(self) -> int:
        """Bytes that belong to no returned line yet."""
        return len(self._buffer)

    def feed(self, data: Buffer, most: int) -> list[bytes]:
        """Take bytes and return at most `most` lines.

        Raises:
            OversizeError: A line is longer than the limit, finished or not.
        """
        if self._error is not None:
            raise self._error
        buffer = self._buffer
        buffer += memoryview(data)
        lines: list[bytes] = []
        start = 0
        try:
            while len(lines) < most:
                end = buffer.find(b"\n", start + self._searched)
                self._check_length((len(buffer) if end < 0 else end) - start)
                if end < 0:
                    self._searched = len(buffer) - start
                    break
                self._searched = 0
                lines.append(bytes(buffer[start:end]))
                start = end + 1
        except RemoteProtocolError as error:
            self._error = error
            if not lines:
                raise
        finally:
            del buffer[:start]
        return lines

    def _check_length(self, length: int) -> None:
        limit = self._max_line_bytes
        if limit is not None and length > limit:
            raise OversizeError(f"a line is longer than {limit} bytes (max_message_bytes)")


class LengthReader:
    """Cut a stream into frames: 4 bytes of total length, themselves included, then a payload.

    The length is big-endian (Workerman: Protocols/Frame).

    Args:
        max_frame_bytes: Greatest total length, or None.
    """

    __slots__ = ("_buffer", "_error", "_max_frame_bytes")

    def __init__(self, max_frame_bytes: int | None) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._error: RemoteProtocolError | None = None

    @property
    def buffered(self) -> int:
        """Bytes that belong to no returned payload yet."""
        return len(self._buffer)

    def feed(self, data: Buffer, most: int) -> list[bytes]:
        """Take bytes and return at most `most` payloads.

        Raises:
            OversizeError: A header announces more than the limit.
            RemoteProtocolError: A header announces less than itself.
        """
        if self._error is not None:
            raise self._error
        buffer = self._buffer
        buffer += memoryview(data)
        payloads: list[bytes] = []
        start = 0
        try:
            while len(payloads) < most and len(buffer) - start >= 4:
                length = int.from_bytes(buffer[start : start + 4], "big")
                self._check_length(length)
                if len(buffer) - start < length:
                    break
                payloads.append(bytes(buffer[start + 4 : start + length]))
                start += length
        except RemoteProtocolError as error:
            self._error = error
            if not payloads:
                raise
        finally:
            del buffer[:start]
        return payloads

    def _check_length(self, length: int) -> None:
        if length < 4:
            raise RemoteProtocolError("a frame announces less than the length of its header")
        limit = self._max_frame_bytes
        if limit is not None and length > limit:
            raise OversizeError(f"a frame announces more than {limit} bytes (max_message_bytes)")


class FrameReader:
    """Cut a stream into WebSocket frames (RFC 6455 section 5) and check their order.

    It refuses what RFC 6455 forbids of a header: reserved bits and opcodes, lengths that are
    not minimal or above 2**63 - 1, control frames that are fragmented or long, the wrong mask
    bit, a continuation of nothing, a new message inside another. What payloads may hold is
    up to the reader of the pieces.

    Args:
        max_payload_bytes: Most payload bytes of one message, over all its fragments; judged
            from each header, before a byte of that payload is taken. None is unlimited.
        require_mask: True refuses unmasked frames (a server), False masked ones (a client).
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_error",
        "_fin",
        "_in_frame",
        "_key",
        "_max_payload_bytes",
        "_message_bytes",
        "_opcode",
        "_remaining",
        "_require_mask",
        "_rsv1",
        "_unfinished",
        "rsv1_allowed",
    )

    def __init__(self, max_payload_bytes: int | None, require_mask: bool) -> None:
        self.rsv1_allowed = False
        """Whether an extension gave RSV1 a meaning (on the first frame of a message)."""
        self._max_payload_bytes = max_payload_bytes
        self._require_mask = require_mask
        self._buffer = bytearray()
        self._at = 0  # Offset of the first byte that is not consumed, within one call.
        self._error: RemoteProtocolError | None = None
        self._unfinished = False  # A data frame without FIN came, its last one did not begin.
        self._message_bytes = 0  # Payload announced so far for the message in progress.
        # The frame whose header was read and whose payload was not, or not wholly:
        self._in_frame = False
        self._fin = self._rsv1 = False
        self._opcode = 0
        self._remaining = 0
        self._key = b""  # Turned so that its first byte unmasks the next payload byte.

    @property
    def buffered(self) -> int:
        """Bytes that belong to no returned piece yet."""
        return len(self._buffer)

    @property
    def message_open(self) -> bool:
        """Whether a message began, by its header at least, and did not end."""
        return self._unfinished or (self._in_frame and self._opcode < 0x8)

    def feed(self, data: Buffer, most: int) -> list[Piece]:
        """Take bytes and return at most `most` pieces of frames.

        A piece is empty only when its frame is.

        Raises:
            OversizeError: A header takes its message past the limit (close code 1009).
            RemoteProtocolError: A header breaks RFC 6455 (close code 1002).
        """
        if self._error is not None:
            raise self._error
        self._buffer += memoryview(data)
        self._at = 0
        pieces: list[Piece] = []
        try:
            while len(pieces) < most and (self._in_frame or self._read_header()):
                piece = self._read_payload()
                if piece is None:
                    break
                pieces.append(piece)
        except RemoteProtocolError as error:
            self._error = error
            if not pieces:
                raise
        finally:
            del self._buffer[: self._at]
        return pieces

    def _read_header(self) -> bool:
        """Read one header; False when it is not all there. Checks come as early as they can."""
        buffer, at = self._buffer, self._at
        available = len(buffer) - at
        if available < 2:
            return False
        first, second = buffer[at], buffer[at + 1]
        self._check_start(first, second)
        length = second & 0x7F
        size = 2
        if length >= 126:
            size, least = (4, 126) if length == 126 else (10, 0x10000)
            if available < size:
                return False
            length = int.from_bytes(buffer[at + 2 : at + size], "big")
            if length < least:  # RFC 6455 section 5.2: the minimal number of bytes.
                raise RemoteProtocolError("a frame's length is not minimally encoded")
            if length >> 63:
                raise RemoteProtocolError("a frame's length has its highest bit set")
        if first & 0x0F < 0x8:
            self._check_size(length)
        if self._require_mask:
            if available < size + 4:
                return False
            self._key = bytes(buffer[at + size : at + size + 4])
            size += 4
        self._at = at + size
        self._begin_frame(first, length)
        return True

    def _begin_frame(self, first: int, length: int) -> None:
        self._in_frame = True
        self._fin = first >= 0x80
        self._rsv1 = bool(first & 0x40)
        self._opcode = first & 0x0F
        self._remaining = length
        if self._opcode < 0x8:
            self._unfinished = not self._fin
            self._message_bytes = 0 if self._fin else self._message_bytes + length

    def _check_start(self, first: int, second: int) -> None:
        """Check the two bytes that every header has (RFC 6455 sections 5.1 to 5.5)."""
        opcode = first & 0x0F
        if first & 0x30 or (first & 0x40 and not (self.rsv1_allowed and 0 < opcode < 0x8)):
            raise RemoteProtocolError("a frame has a reserved bit set")
        if opcode >= 0x8:
            if opcode > 0xA:
                raise RemoteProtocolError("a frame has a reserved opcode")
            if first < 0x80:
                raise RemoteProtocolError("a control frame is fragmented")
            if second & 0x7F > 125:
                raise RemoteProtocolError("a control frame is longer than 125 bytes")
        elif opcode > 0x2:
            raise RemoteProtocolError("a frame has a reserved opcode")
        elif opcode == 0 and not self._unfinished:
            raise RemoteProtocolError("a continuation frame continues no message")
        elif opcode and self._unfinished:
            raise RemoteProtocolError("a message begins inside an unfinished one")
        if (second >= 0x80) != self._require_mask:
            raise RemoteProtocolError(f"a frame is {'not ' * self._require_mask}masked")

    def _check_size(self, length: int) -> None:
        limit = self._max_payload_bytes
        if limit is not None and self._message_bytes + length > limit:
            raise OversizeError(f"a message is longer than {limit} bytes (max_message_bytes)")

    def _read_payload(self) -> Piece | None:
        """Take what is there of the current frame; None when that is nothing to hand over."""
        at, remaining = self._at, self._remaining
        size = min(remaining, len(self._buffer) - at)
        if size < remaining and (size == 0 or self._opcode >= 0x8):
            return None
        payload = bytes(self._buffer[at : at + size])
        if self._require_mask and size:
            payload = apply_mask(payload, self._key)
            turn = size & 3
            self._key = self._key[turn:] + self._key[:turn]
        self._at = at + size
        self._remaining = remaining - size
        self._in_frame = size < remaining
        return self._fin, self._rsv1, self._opcode, payload, not self._in_frame


def apply_mask(data: Buffer, key: Buffer) -> bytes:
    """Return `data` XORed with the repeated 4-byte `key` (RFC 6455 section 5.3).

    The same call masks and unmasks.

    Raises:
        ValueError: The key has not 4 bytes.
    """
    view = memoryview(data)
    size = view.nbytes
    key = bytes(memoryview(key))
    if len(key) != 4:
        raise ValueError("a masking key has 4 bytes")
    # One XOR of two long integers is the fastest loop that plain Python has.
    stream = (key * (size // 4 + 1))[:size]
    number = int.from_bytes(view, "little") ^ int.from_bytes(stream, "little")
    return number.to_bytes(size, "little")


def encode_frame(
    opcode: int,
    payload: Buffer,
    *,
    mask: Buffer | None = None,
    fin: bool = True,
    rsv1: bool = False,
) -> bytes:
    """Return one WebSocket frame (RFC 6455 section 5.2); the caller answers for its order.

    Args:
        opcode: 0 to 15.
        payload: The bytes to carry, before masking.
        mask: The 4-byte key of a client's frame; None for a server's.
        fin: Whether the frame ends its message.
        rsv1: Whether to set the bit of an extension.
    """
    if type(payload) is not bytes:
        payload = bytes(memoryview(payload))
    size = len(payload)
    first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
    flag = 0 if mask is None else 0x80
    if size < 126:
        header = bytes((first, flag | size))
    elif size < 0x10000:
        header = bytes((first, flag | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((first, flag | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return header + payload
    return b"".join((header, mask, apply_mask(payload, mask)))
