"""`WebSocket`: one conversation after the handshake (RFC 6455 sections 5 to 7), both roles.

The close handshake is a table:

    state     we send close   the peer's close arrives    the stream ends, or we fail it
    OPEN      CLOSING         CLOSED (echo is queued)     CLOSED
    CLOSING   -               CLOSED                      CLOSED
    CLOSED    -               -                           -

What the codec wants to say of itself (pongs, the echo of a close) waits in it until
`outgoing` is called. So nothing is queued for a peer that does not read: a connection that
cannot write leaves it there, where it is bounded.

Three bounds need a clock or a buffer, which live elsewhere; `controls_since_data` and
`message_open` are what the connection needs to keep them.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from enum import Enum
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, ClassVar

from ..._core import FrameReader, encode_frame
from ...errors import LocalProtocolError, RemoteProtocolError
from ..codec import FEED_BATCH, Codec
from ..jsonl import encode_json
from ..tcp import to_bytes
from .frame import (
    MAX_CONTROL_BYTES,
    CloseCode,
    Closed,
    Opcode,
    Ping,
    Pong,
    pack_close,
    unpack_close,
)

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

    from ..._types import Buffer
    from ...limits import Limits

__all__ = ["MAX_EMPTY_FRAGMENTS", "MAX_PENDING_PONGS", "State", "WebSocket"]

MAX_EMPTY_FRAGMENTS = 16
"""Most fragments in a row that hold nothing and end nothing, before close code 1008."""

MAX_PENDING_PONGS = 16
"""Most pings that are answered at once. RFC 6455 section 5.5.3 asks for the latest only, but
clients exist that count, and Autobahn's case 2.10 sends ten."""

_TEXT, _BINARY, _PING, _PONG = map(int, (Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG))
_CLOSE = int(Opcode.CLOSE)

_Utf8Decoder = getincrementaldecoder("utf-8")


class State(Enum):
    """Where the close handshake stands."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class _Step(Enum):
    SEND_CLOSE = "send close"
    RECEIVE_CLOSE = "receive close"
    BREAK_OFF = "break off"


_NEXT_STATE = {
    (State.OPEN, _Step.SEND_CLOSE): State.CLOSING,
    (State.OPEN, _Step.RECEIVE_CLOSE): State.CLOSED,
    (State.OPEN, _Step.BREAK_OFF): State.CLOSED,
    (State.CLOSING, _Step.RECEIVE_CLOSE): State.CLOSED,
    (State.CLOSING, _Step.BREAK_OFF): State.CLOSED,
}


class WebSocket(Codec):
    """Frames in, events out: `str`, `bytes`, `Ping`, `Pong`, and `Closed` as the last one.

    Args:
        limits: Of which `max_message_bytes` counts, over all fragments of a message.
        client: Whether this side opened the conversation: it then masks what it sends, and
            refuses masks.
    """

    __slots__ = (
        "_decoder",
        "_empty_fragments",
        "_error",
        "_kind",
        "_message",
        "_outgoing_close",
        "_pongs",
        "_reader",
        "client",
        "close_code",
        "close_reason",
        "close_received",
        "close_sent",
        "controls_since_data",
        "state",
    )

    accepts: ClassVar[tuple[type, ...]] = (str, bytes, bytearray, memoryview, dict, list)

    def __init__(self, limits: Limits, *, client: bool = False) -> None:
        self.client: bool = client
        self.state: State = State.OPEN
        self.close_sent: bool = False
        """Whether a close frame was handed over; nothing of ours follows it."""
        self.close_received: bool = False
        self.close_code: int | None = None
        """What ended the conversation: the peer's code, 1005, 1006, or ours after `fail`."""
        self.close_reason: str = ""
        self.controls_since_data: int = 0
        """Control frames since the last byte of a message, for the bound on ping floods."""
        self._reader = FrameReader(limits.max_message_bytes, not client)
        self._error: RemoteProtocolError | None = None
        self._pongs: list[bytes] = []
        self._outgoing_close: bytes | None = None
        # The message in progress: its opcode (0: none), its payload, its UTF-8 check.
        self._kind = 0
        self._message = bytearray()
        self._decoder: IncrementalDecoder | None = None
        self._empty_fragments = 0

    @property
    def buffered(self) -> int:
        """Bytes that belong to no returned event yet, those of a message in progress included."""
        if self.state is State.CLOSED:
            return 0
        return self._reader.buffered + len(self._message)

    @property
    def message_open(self) -> bool:
        """Whether the peer began a message and did not end it yet, for its time limit."""
        return self.state is not State.CLOSED and self._reader.message_open

    def feed(self, data: Buffer) -> list[Any]:
        """Take bytes from the peer and return the events that are complete.

        What follows the peer's close frame is dropped (RFC 6455 section 5.5.1).

        Raises:
            RemoteProtocolError: The peer broke the protocol; its `close_code` is 1002, or
                1007 (UTF-8), 1008 (empty fragments), 1009 (size, an OversizeError). Answer it
                with `fail`.
        """
        if self.state is State.CLOSED:
            return []
        if self._error is not None:
            raise self._error
        events: list[Any] = []
        try:
            self._read_events(data, events)
        except RemoteProtocolError as error:
            self._error = error
            self._drop_message()
            if not events:
                raise
        return events

    def eof(self) -> list[Any]:
        """Take the end of the peer's stream: `Closed(1006)` unless a close frame came before.

        Raises:
            RemoteProtocolError: The peer broke the protocol before it left.
        """
        if self.state is State.CLOSED:
            return []
        if self._error is not None:
            raise self._error
        return [self._end(_Step.BREAK_OFF, Closed(CloseCode.ABNORMAL))]

    def encode(self, message: Any) -> bytes:
        """Return one message as one frame: `str` as text, bytes-like as binary.

        A dict or list is sent as JSON text.

        Raises:
            TypeError: The message is none of these, or JSON lacks a type inside it.
            LocalProtocolError: A close frame was sent, or text has lone surrogates, or JSON
                cannot express a value.
        """
        if isinstance(message, dict | list):
            return self._frame(_TEXT, encode_json(message))
        return self._frame(_TEXT if isinstance(message, str) else _BINARY, to_bytes(message))

    def ping(self, payload: Buffer = b"") -> bytes:
        """Return a ping frame; the peer's `Pong` will carry the same payload.

        Raises:
            LocalProtocolError: The payload has more than 125 bytes, or a close frame was sent.
        """
        content = bytes(memoryview(payload))
        if len(content) > MAX_CONTROL_BYTES:
            raise LocalProtocolError("a ping carries at most 125 bytes")
        return self._frame(_PING, content)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> bytes:
        """Return the close frame that begins the close handshake; nothing the second time.

        What the peer still sends before its own close frame is delivered as before.

        Raises:
            ValueError: The code must not be sent, or the reason has more than 123 bytes.
        """
        payload = pack_close(code, reason)
        if self.state is not State.OPEN:
            return b""
        frame = self._frame(_CLOSE, payload)
        self._step(_Step.SEND_CLOSE)
        self.close_sent = True
        return frame

    def fail(self, error: RemoteProtocolError) -> bytes:
        """Return the close frame that tells the peer its error, unless one was sent already.

        The conversation is over: whatever arrives later is dropped (RFC 6455 section 7.1.7).
        """
        if self.state is State.CLOSED:
            return b""
        reason = str(error).encode("ascii", "replace")[: MAX_CONTROL_BYTES - 2].decode("ascii")
        frame = (
            b"" if self.close_sent else self._frame(_CLOSE, pack_close(error.close_code, reason))
        )
        self._step(_Step.BREAK_OFF)
        self._drop_message()
        self.close_sent = True
        self.close_code, self.close_reason = error.close_code, reason
        return frame

    def outgoing(self) -> bytes:
        """Hand over, once, what the codec itself has to send: pongs, then the echo of a close.

        Of a flood of pings the last 16 are answered (RFC 6455 section 5.5.3).
        """
        if not self._pongs and self._outgoing_close is None:
            return b""
        frames = [self._mask_frame(_PONG, payload) for payload in self._pongs]
        self._pongs.clear()
        if self._outgoing_close is not None:
            frames.append(self._mask_frame(_CLOSE, self._outgoing_close))
            self._outgoing_close = None
            self.close_sent = True
        return b"".join(frames)

    def _read_events(self, data: Buffer, events: list[Any]) -> None:
        reader = self._reader
        pieces = reader.feed(data, FEED_BATCH)
        while pieces:
            for fin, _rsv1, opcode, payload, done in pieces:
                if opcode < 0x8:
                    event = self._take_data(opcode, payload, fin and done, fin)
                else:
                    event = self._take_control(opcode, payload)
                if event is not None:
                    events.append(event)
                if self.state is State.CLOSED:
                    return
            if len(events) == FEED_BATCH or not reader.buffered:
                return
            # Pieces are not events: without more of them an empty list would be a lie.
            pieces = reader.feed(b"", FEED_BATCH - len(events))

    def _take_data(self, opcode: int, payload: bytes, last: bool, fin: bool) -> Any:
        """Take a piece of a message; return the message with its last one, else None."""
        if self._kind == 0:
            if last:
                self.controls_since_data = 0
                return _decode_text(payload) if opcode == _TEXT else payload
            self._kind = opcode
            self._decoder = _Utf8Decoder() if opcode == _TEXT else None
        if payload:
            self.controls_since_data = 0
            self._empty_fragments = 0
            self._message += payload
        elif not fin:
            self._count_empty_fragment()
        if self._decoder is not None:
            self._check_text(self._decoder, payload, last)
        return self._finish_message() if last else None

    def _finish_message(self) -> str | bytes:
        text = self._kind == _TEXT
        message = self._message.decode() if text else bytes(self._message)
        self.controls_since_data = 0
        self._drop_message()
        return message

    def _drop_message(self) -> None:
        self._kind = 0
        self._message = bytearray()
        self._decoder = None
        self._empty_fragments = 0

    def _check_text(self, decoder: IncrementalDecoder, payload: bytes, last: bool) -> None:
        # The text itself is thrown away: pieces of `str` weigh many times what bytes do, and
        # a list of them would let a peer multiply its fragments in memory.
        try:
            decoder.decode(payload, last)
        except UnicodeDecodeError:
            raise _not_utf8() from None
        # Python waits for the third byte of a surrogate; two show that it cannot be UTF-8.
        waiting, _ = decoder.getstate()
        if waiting[:1] == b"\xed" and waiting[1:] >= b"\xa0":
            raise _not_utf8()

    def _count_empty_fragment(self) -> None:
        self._empty_fragments += 1
        if self._empty_fragments > MAX_EMPTY_FRAGMENTS:
            raise RemoteProtocolError(
                f"more than {MAX_EMPTY_FRAGMENTS} empty fragments in a row",
                close_code=CloseCode.POLICY_VIOLATION,
            )

    def _take_control(self, opcode: int, payload: bytes) -> Any:
        self.controls_since_data += 1
        if opcode == _PING:
            if len(self._pongs) == MAX_PENDING_PONGS:
                del self._pongs[0]
            self._pongs.append(payload)
            return Ping(payload)
        if opcode == _PONG:
            return Pong(payload)
        closed = unpack_close(payload)
        if not self.close_sent:
            # RFC 6455 section 5.5.1: echo the code, or its absence; the reason was the peer's.
            # It counts as sent once it is handed over: answers to what came before the
            # close may still go out in front of it.
            self._outgoing_close = payload[:2]
        self.close_received = True
        return self._end(_Step.RECEIVE_CLOSE, closed)

    def _end(self, step: _Step, closed: Closed) -> Closed:
        self._step(step)
        self._drop_message()
        self.close_code, self.close_reason = closed.code, closed.reason
        return closed

    def _step(self, step: _Step) -> None:
        self.state = _NEXT_STATE[self.state, step]

    def _frame(self, opcode: int, payload: bytes) -> bytes:
        if self.close_sent:
            # RFC 6455 section 5.5.1: nothing of ours follows a close frame.
            raise LocalProtocolError("the WebSocket is closing: nothing can be sent")
        return self._mask_frame(opcode, payload)

    def _mask_frame(self, opcode: int, payload: bytes) -> bytes:
        # RFC 6455 section 5.3: a fresh key, not to be foreseen, for each frame of a client.
        mask = token_bytes(4) if self.client else None
        return encode_frame(opcode, payload, mask=mask)


def _decode_text(payload: bytes) -> str:
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> RemoteProtocolError:
    # RFC 6455 section 8.1.
    return RemoteProtocolError("a text message is not UTF-8", close_code=CloseCode.INVALID_DATA)
