"""The hot paths of HTTP/1.1 in plain Python: request head, chunked body, response head.

`parse_head` reads a complete request head in one validating pass and settles all that
decides where the message ends and what becomes of the connection: a message that two
readers could read in two ways is refused, never repaired (RFC 9112 section 11.2). It decodes
nothing that a handler may never ask for.

The accepting pass is two regular expressions. The second one matches whole field lines
only (its `^` stands behind a line feed, and a match holds exactly one), so a head in which
the matches are as many as the line feeds has no byte that was not looked at. When the counts
differ, `_refusal` reads the head again, slowly, to say what is wrong with it.

Whichever implementation runs, one head has one verdict: line ends are judged first, then the
request line, then the number of fields, then their form, then their meaning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import OversizeError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._types import Buffer

__all__ = ["ChunkedReader", "RequestHead", "encode_head", "parse_head"]

# RFC 9110 section 5.6.2, and the bytes of a field value of section 5.5: no control but the tab.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"

# Linear, all of them: possessive repetitions (`++`) never give a byte back, and what follows
# each one cannot begin with a byte that it takes.
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}+) ([!\"$-~\x80-\xff]++) HTTP/1\.([01])\r\n")
_FIELD = re.compile(rb"^(" + _TOKEN + rb"++):(" + _VALUE + rb"*+)\r\n", re.MULTILINE)
_METHOD = re.compile(_TOKEN + rb"{1,32}+")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_TARGET = re.compile(rb"[!\"$-~\x80-\xff]++")
_NAME = re.compile(_TOKEN + rb"++")
_LENGTH = re.compile(rb"[0-9]{1,19}+")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:;" + _VALUE + rb"*+)?\r\n")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]++)")
# Stricter than RFC 3986: no user-info (which HTTP forbids), no comma, no empty port.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]++\]|[0-9A-Za-z\-._~%!$&'()*+;=]++)(?::([0-9]{1,5}+))?")

_JUDGED = frozenset(
    (b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade")
)
"""The fields that `parse_head` understands: framing, routing and the connection's fate."""

_BLANK = b" \t"

_MAX_CHUNK_LINE = 256
_MAX_TRAILER_BYTES = 4096
_MAX_TRAILERS = 20
_FREE_CHUNKS = 4096
"""Chunks whose average size is not judged."""
_MIN_CHUNK_AVERAGE = 16

_SIZE, _DATA, _DATA_END, _TRAILER = range(4)

_FORBIDDEN_TRAILERS = frozenset(
    b"age authorization cache-control connection content-encoding content-length content-range "
    b"content-type cookie date expect expires forwarded host keep-alive location max-forwards "
    b"pragma proxy-authenticate proxy-authorization proxy-connection range set-cookie te trailer "
    b"transfer-encoding upgrade vary via warning www-authenticate x-real-ip".split()
)
"""What may decide framing, routing or rights, and so never comes late (RFC 9110 section 6.5.1)."""


class RequestHead:
    """What one request head says, as bytes; made by `parse_head` only.

    `fields` are the names and values as they came, in order; a value still has the blanks
    (space, tab) that stood around it. `host` is the authority that the request is for.
    `upgrade` is the whole `Upgrade` field in lower case when `Connection` names it, and the
    version permits it.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expectation",
        "fields",
        "host",
        "keep_alive",
        "method",
        "minor",
        "target",
        "upgrade",
    )

    def __init__(
        self, method: str, target: bytes, minor: int, fields: list[tuple[bytes, bytes]]
    ) -> None:
        self.method: str = method
        self.target: bytes = target
        self.minor: int = minor
        self.fields: list[tuple[bytes, bytes]] = fields
        self.host: bytes | None = None
        self.content_length: int = 0
        self.chunked: bool = False
        self.keep_alive: bool = minor == 1
        self.expectation: bytes = b""
        self.upgrade: bytes = b""


def parse_head(head: bytes, max_headers: int) -> RequestHead:
    """Parse one request head, from the request line to the empty line, both included.

    Args:
        head: Bytes that end with the first CR LF CR LF that they hold.
        max_headers: Most field lines.

    Raises:
        RemoteProtocolError: The head is malformed or ambiguous (400), its version is not
            spoken here (505), its method not served (405), or it has too many fields (431).
    """
    line = _REQUEST_LINE.match(head)
    count = head.count(b"\n") - 2
    if line is None or count > max_headers:
        raise _refusal(head, max_headers)
    fields = _FIELD.findall(head, line.end())
    if len(fields) != count:
        raise _refusal(head, max_headers)
    method, target, minor = line.groups()
    parsed = RequestHead(method.decode("ascii"), target, 1 if minor == b"1" else 0, fields)

    judged: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        key = name.lower()
        if key in _JUDGED:
            judged.setdefault(key, []).append(value)
    if method == b"CONNECT" or method == b"TRACE":
        raise RemoteProtocolError("a method that is not served here", status=405)
    parsed.host = _judge_host(judged.pop(b"host", None), parsed.minor)
    if not target.startswith(b"/"):
        _judge_target(parsed)
    if judged:
        _judge_framing(parsed, judged)
        _judge_connection(parsed, judged)
    return parsed


def _judge_host(values: list[bytes] | None, minor: int) -> bytes | None:
    """Return the host; RFC 9112 section 3.2."""
    if values is None:
        if minor == 1:
            raise RemoteProtocolError("no Host")
        return None
    if len(values) > 1:
        raise RemoteProtocolError("more than one Host")
    host = values[0].strip(_BLANK)
    match = _HOST.fullmatch(host)
    if match is None or int(match[1] or 0) > 65535:
        raise RemoteProtocolError("a Host that is no host and port")
    return host


def _judge_target(head: RequestHead) -> None:
    """Judge a target that does not begin with a slash; RFC 9112 section 3.2."""
    if head.target == b"*" and head.method == "OPTIONS":
        return
    match = _ABSOLUTE.match(head.target)
    if match is None:
        raise RemoteProtocolError("a request target that is no path")
    authority = _judge_host([match[1]], head.minor)
    # Section 3.2.2 has the target win over Host. Handlers may look at either, so a request
    # in which they differ could be read in two ways.
    if head.host is not None and head.host.lower() != match[1].lower():
        raise RemoteProtocolError("a request target and a Host that differ")
    head.host = authority


def _judge_framing(head: RequestHead, judged: dict[bytes, list[bytes]]) -> None:
    """Settle where the body ends; RFC 9112 section 6."""
    lengths = judged.get(b"content-length")
    codings = judged.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
        if head.minor == 0:
            raise RemoteProtocolError("Transfer-Encoding in HTTP/1.0")
        # Only spaces are taken off: older intermediaries overlook a coding behind a tab.
        if len(codings) > 1 or codings[0].strip(b" ").lower() != b"chunked":
            raise RemoteProtocolError("a Transfer-Encoding that is not one chunked")
        head.chunked = True
    elif lengths is not None:
        digits = lengths[0].strip(b" ")
        if len(lengths) > 1 or _LENGTH.fullmatch(digits) is None:
            raise RemoteProtocolError("a Content-Length that is not one number")
        head.content_length = int(digits)


def _judge_connection(head: RequestHead, judged: dict[bytes, list[bytes]]) -> None:
    """Settle what becomes of the connection; RFC 9110 section 7.6.1, RFC 9112 section 9.3."""
    options = judged.get(b"connection")
    upgrade = b",".join(judged.get(b"upgrade", ())).strip(_BLANK).lower()
    if b"websocket" in upgrade and head.method == "GET" and (head.chunked or head.content_length):
        # After a refused upgrade the body could be taken for the next request, or the other
        # way round after an accepted one.
        raise RemoteProtocolError("a WebSocket upgrade with a body")
    if options is not None:
        names = [name.strip(_BLANK) for name in b",".join(options).lower().split(b",")]
        if b"close" in names:
            head.keep_alive = False
        elif b"keep-alive" in names:
            head.keep_alive = True
        if b"upgrade" in names and head.minor == 1:
            head.upgrade = upgrade
    if head.minor == 1:  # RFC 9110 section 10.1.1: an expectation of HTTP/1.0 is ignored
        head.expectation = b",".join(judged.get(b"expect", ())).strip(_BLANK).lower()


def _refusal(head: bytes, max_headers: int) -> RemoteProtocolError:
    """Return what is wrong with a head that the accepting pass did not accept."""
    if head.count(b"\n") != head.count(b"\r\n"):
        return RemoteProtocolError("a line that does not end with CR LF")
    line, *fields = head[:-4].split(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3:
        return RemoteProtocolError("a request line that is not three words")
    method, target, version = words
    if _METHOD.fullmatch(method) is None:
        return RemoteProtocolError("a method that is no token of at most 32 bytes")
    if _TARGET.fullmatch(target) is None:
        return RemoteProtocolError("a request target with a forbidden byte")
    if _VERSION.fullmatch(version) is None:
        return RemoteProtocolError("a version that is none")
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return RemoteProtocolError("a version that is not spoken here", status=505)
    if len(fields) > max_headers:
        return OversizeError(f"more than {max_headers} fields (max_headers)", status=431)
    for field in fields:
        name, colon, _ = field.partition(b":")
        if field[:1] in (b" ", b"\t"):
            return RemoteProtocolError("a folded field line")
        if not colon or _NAME.fullmatch(name) is None:
            return RemoteProtocolError("a field name that is no token")
    return RemoteProtocolError("a control byte in a field value")


class ChunkedReader:
    """Takes a chunked body apart while it arrives; RFC 9112 section 7.1.

    `body` collects the data; who takes some of it away empties it. `received` counts all
    that ever arrived. `trailers` are names and values as they came, never more than 20.
    Extensions are checked and ignored.

    Args:
        max_body_bytes: Most bytes of data; judged by the announced sizes already.
    """

    __slots__ = (
        "_announced",
        "_chunks",
        "_line",
        "_max_body_bytes",
        "_missing",
        "_state",
        "_trailer_bytes",
        "body",
        "done",
        "trailers",
    )

    def __init__(self, max_body_bytes: int | None) -> None:
        self.body = bytearray()
        self.done = False
        self.trailers: list[tuple[bytes, bytes]] = []
        self._max_body_bytes = max_body_bytes
        self._state = _SIZE
        self._line = bytearray()
        self._missing = 0
        self._announced = 0
        self._chunks = 0
        self._trailer_bytes = 0

    @property
    def received(self) -> int:
        """Bytes of data that arrived so far."""
        return self._announced - (self._missing if self._state == _DATA else 0)

    def feed(self, data: Buffer) -> int:
        """Take bytes and return how many were used: all of them, unless the body ended.

        Raises:
            RemoteProtocolError: The framing is malformed (400).
            OversizeError: The body is larger than allowed (413).
        """
        if isinstance(data, memoryview):
            data = bytes(data)
        position = 0
        while position < len(data) and not self.done:
            if self._state == _DATA:
                position = self._take_data(data, position)
            elif self._state == _DATA_END:
                position = self._take_data_end(data, position)
            elif self._state == _SIZE:
                position = self._take_line(data, position, _MAX_CHUNK_LINE)
            else:
                left = _MAX_TRAILER_BYTES - self._trailer_bytes
                position = self._take_line(data, position, left)
        return position

    def _take_data(self, data: bytes | bytearray, position: int) -> int:
        piece = data[position : position + self._missing]
        self.body += piece
        self._missing -= len(piece)
        if self._missing == 0:
            self._state = _DATA_END
            self._missing = 2
        return position + len(piece)

    def _take_data_end(self, data: bytes | bytearray, position: int) -> int:
        # One byte at a time, so that a wrong one is refused as soon as it is there.
        if data[position] != (0x0D if self._missing == 2 else 0x0A):
            raise RemoteProtocolError("chunk data without CR LF behind it")
        self._missing -= 1
        if self._missing == 0:
            self._state = _SIZE
        return position + 1

    def _take_line(self, data: bytes | bytearray, position: int, max_bytes: int) -> int:
        """Collect one line of at most `max_bytes`, its end included, and act on it."""
        window = position + max_bytes - len(self._line)
        end = data.find(b"\n", position, window) + 1
        if end == 0:
            if len(data) >= window:
                raise RemoteProtocolError("a chunk line or trailer section that is too long")
            self._line += data[position:]
            return len(data)
        self._line += data[position:end]
        line = bytes(self._line)
        self._line.clear()
        if self._state == _SIZE:
            self._begin_chunk(line)
        else:
            self._take_trailer(line)
        return end

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise RemoteProtocolError("a chunk line that is malformed")
        size = int(match[1], 16)
        if size == 0:
            self._state = _TRAILER
            return
        self._announced += size
        self._chunks += 1
        if self._max_body_bytes is not None and self._announced > self._max_body_bytes:
            raise _body_too_large(self._max_body_bytes)
        # Framing of five bytes around each byte of data is work for us, none for the peer.
        if self._chunks > _FREE_CHUNKS and self._announced < _MIN_CHUNK_AVERAGE * self._chunks:
            raise RemoteProtocolError("a body in too many tiny chunks")
        self._missing = size
        self._state = _DATA

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if line == b"\r\n":
            self.done = True
            return
        match = _FIELD.fullmatch(line)
        if match is None:
            raise RemoteProtocolError("a trailer that is malformed")
        name = match[1].lower()
        if name in _FORBIDDEN_TRAILERS or name.startswith(b"x-forwarded-"):
            raise RemoteProtocolError("a trailer that belongs into the head")
        if len(self.trailers) == _MAX_TRAILERS:
            raise RemoteProtocolError(f"more than {_MAX_TRAILERS} trailers")
        self.trailers.append((match[1], match[2]))


def _body_too_large(max_body_bytes: int) -> OversizeError:
    return OversizeError(f"a body of more than {max_body_bytes} bytes (max_body_bytes)")


def encode_head(start: bytes, fields: Iterable[tuple[bytes, bytes]], content_length: int) -> bytes:
    """Join a response head; names and values were checked by who made them.

    Args:
        start: The status line, and whole field lines that are the same in many answers.
        fields: Names and values.
        content_length: Written as a field, unless it is negative.
    """
    parts = [start]
    for name, value in fields:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"Content-Length: %d\r\n\r\n" % content_length if content_length >= 0 else b"\r\n")
    return b"".join(parts)
