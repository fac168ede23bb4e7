"""The server's side of one HTTP/1.1 connection: one request out, one answer in, in turns.

    phase       means                                    leaves it
    IDLE        no byte of a request has been parsed     feed
    HEAD        some bytes of a head are there           feed
    BODY        the head is whole, the body is not       feed
    ANSWERING   a request was handed out                 encode, encode_file_head, upgrade, fail
    DONE        nothing more will be parsed              -

    IDLE -> HEAD -> BODY -> ANSWERING -> IDLE       one request (feed may pass several at once)
                            ANSWERING -> DONE       last answer, or upgrade
    IDLE, HEAD, BODY -> DONE                        malformed request; the peer left
    HEAD, BODY, ANSWERING -> DONE                   fail

While a request waits for its answer, what follows it is kept unparsed. So handlers see
requests strictly in order, answers cannot overtake each other, and bytes behind an upgrade or
behind the last request of a connection never reach the HTTP parser.

Time is not seen here: the connection sets `date`, and enforces deadlines by `phase` and
`body_received`.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from ..._core import encode_head
from ...errors import IncompleteError, LocalProtocolError, RemoteProtocolError
from ..codec import Codec
from .body import NO_BODY, open_body
from .head import HeadReader
from .request import Request
from .response import BODILESS, Response, encode_body, reason_phrase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..._core import RequestHead
    from ..._types import Buffer
    from ...limits import Limits
    from .body import BodyReader

__all__ = ["CONTINUE", "HttpServer", "Phase"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What invites a client to send the body that it announced; RFC 9110 section 15.2.1."""

_CLOSE = (b"Connection", b"close")
_KEEP_ALIVE = (b"Connection", b"keep-alive")
_ALLOW = (b"Allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")


class Phase(Enum):
    """Where a connection is between two requests; the module's docstring has the table."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWERING = "answering"
    DONE = "done"


class HttpServer(Codec):
    """The codec of one server connection.

    Args:
        limits: `max_request_line`, `max_head_bytes`, `max_headers`, `max_body_bytes` and
            `max_fields` are obeyed here, for every request of the connection.
    """

    accepts: ClassVar[tuple[type, ...]] = (
        str,
        bytes,
        bytearray,
        memoryview,
        dict,
        list,
        Response,
    )
    gapless: ClassVar[bool] = True

    date: bytes = b""
    """The value of the Date field (RFC 9110 section 5.6.7); empty leaves the field out."""

    server_header: bytes = b"longline"
    """The value of the Server field; empty leaves the field out."""

    def __init__(self, limits: Limits) -> None:
        self.phase: Phase = Phase.IDLE
        self.current: Request | None = None
        """The request that waits for its answer."""
        self.keep_alive: bool = True
        """Whether the connection goes on, as the last answer said."""
        self.draining = False
        """Whether the next answer is to be the last one."""
        self._limits = limits
        self._buffer = bytearray()
        self._heads = HeadReader(limits)
        self._head: RequestHead | None = None
        self._body: BodyReader = NO_BODY
        self._continue_owed = False
        self._peer_ended = False
        self._error: RemoteProtocolError | None = None
        self._refusal_owed = False

    @property
    def buffered(self) -> int:
        """Bytes that arrived and belong to no request that was handed out."""
        return len(self._buffer) + self._body.held

    @property
    def body_received(self) -> int:
        """Bytes of the body of the request in arrival; 0 before and after."""
        return self._body.received

    @property
    def expects_continue(self) -> bool:
        """Whether the client holds its body back until it is invited (RFC 9110 10.1.1)."""
        return self._continue_owed and self.phase is Phase.BODY and not self._body.received

    def take_continue(self) -> bytes:
        """Return the invitation that the client waits for, once; else nothing."""
        if not self.expects_continue:
            return b""
        self._continue_owed = False
        return CONTINUE

    def feed(self, data: Buffer) -> list[Request]:
        """Take bytes, and return a request if one is complete and its turn has come.

        At most one is returned. The next one comes from a `feed` (perhaps of nothing) after
        its answer was encoded. Bytes behind the connection's last request are dropped.

        Raises:
            RemoteProtocolError: The request is malformed or too large; `fail` makes the
                answer, and the codec is dead.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self.phase is Phase.DONE:
            return []
        self._buffer += data
        if self.phase is Phase.ANSWERING:
            return []
        return self._advance()

    def eof(self) -> list[Request]:
        """Take the end of the peer's stream; complete requests before it are still served.

        Raises:
            IncompleteError: The stream ended inside a head or a body (RFC 9112 section 8).
        """
        self._peer_ended = True
        return self.feed(b"")

    def _advance(self) -> list[Request]:
        try:
            if self._head is None:
                self._head = self._heads.read(self._buffer)
                if self._head is None:
                    return self._wait(Phase.HEAD if self._buffer else Phase.IDLE)
                self._begin_body(self._head)
            if not self._body.feed(self._buffer):
                return self._wait(Phase.BODY)
        except RemoteProtocolError as error:
            self._error = error
            self._refusal_owed = True
            self._finish(keep_alive=False)
            raise
        return [self._hand_out(self._head)]

    def _wait(self, phase: Phase) -> list[Request]:
        self.phase = phase
        if self._peer_ended and phase is not Phase.IDLE:
            raise IncompleteError("the stream ended in the middle of a request")
        return []

    def _begin_body(self, head: RequestHead) -> None:
        body = open_body(head, self._limits.max_body_bytes)
        if head.expectation:
            if head.expectation != b"100-continue":
                raise RemoteProtocolError("an expectation that is not met here", status=417)
            self._continue_owed = body is not NO_BODY
        self._body = body

    def _hand_out(self, head: RequestHead) -> Request:
        body = self._body
        request = Request(head, body.take(), body.trailers, self._limits.max_fields)
        self._head = None
        self._body = NO_BODY
        self._continue_owed = False
        self.current = request
        self.phase = Phase.ANSWERING
        return request

    def _finish(self, keep_alive: bool) -> None:
        """Leave the request behind: answered, or beyond answering."""
        self.current = None
        self.keep_alive = keep_alive
        if keep_alive:
            self.phase = Phase.IDLE
        else:
            self.phase = Phase.DONE
            self._body = NO_BODY
            self._buffer.clear()

    def encode(self, message: Any) -> bytes:
        """Return the answer to the current request, as bytes.

        Text is answered as HTML, bytes as a download, a dict or list as JSON. An answer of
        100 to 199 is an interim one: the request goes on waiting.

        Raises:
            LocalProtocolError: No request waits for an answer (or its answer was encoded
                before); the declared Content-Length is not the body's; the answer is a file,
                or 101 (`encode_file_head` and `upgrade` are for those). Nothing has changed.
            TypeError: No answer can be made of that type. Nothing has changed.
        """
        request = self._waiting()
        if not isinstance(message, Response):
            body, content_type = encode_body(message)
            fields = [(b"Content-Type", content_type.encode("ascii"))]
            keep_alive = request.keep_alive and not self.draining and not request.upgrade
            start = _start(200, self.server_header, self.date)
            head = self._encode_head(start, fields, len(body), request, keep_alive)
            return head if request.method == "HEAD" else head + body
        if message.file_path is not None:
            raise LocalProtocolError("a file is answered with encode_file_head")
        if message.status < 200:
            return _interim(request, message)
        head = self._encode_response(request, message, len(message.body))
        return head + message.body if _has_body(request, message) else head

    def encode_file_head(self, response: Response, size: int) -> bytes:
        """Return the head of an answer whose body the caller sends, in place of `encode`.

        Ask `response_has_body` first whether the body is to be sent at all.

        Args:
            response: The answer; its own body counts for nothing.
            size: Bytes of the body.

        Raises:
            LocalProtocolError: As `encode`.
        """
        if response.status < 200:
            raise LocalProtocolError("an interim answer has no body")
        return self._encode_response(self._waiting(), response, size)

    def response_has_body(self, response: Response) -> bool:
        """Whether the current request's answer may have a body; RFC 9112 section 6.3.

        Raises:
            LocalProtocolError: No request waits for an answer.
        """
        return _has_body(self._waiting(), response)

    def upgrade(self) -> bytes:
        """Leave HTTP: return the bytes that belong to the next protocol.

        Who calls it writes the 101 answer, which is the first word of the next protocol.

        Raises:
            LocalProtocolError: The current request does not ask for an upgrade.
        """
        if self._waiting().upgrade is None:
            raise LocalProtocolError("the request does not ask for an upgrade")
        rest = bytes(self._buffer)
        self._finish(keep_alive=False)
        return rest

    def fail(self, error: RemoteProtocolError) -> bytes:
        """Return the answer that refuses the current or the malformed request, and end.

        It says nothing that the peer or the application chose. Nothing is returned when no
        request began, or the last one was answered. Afterwards the phase is DONE.
        """
        owed = self._refusal_owed or self.phase not in (Phase.IDLE, Phase.DONE)
        asked = self._head or self.current
        self._refusal_owed = False
        self._finish(keep_alive=False)
        if not owed:
            return b""
        body = f"{error.status} {reason_phrase(error.status)}\n".encode("ascii")
        fields = [(b"Content-Type", b"text/plain; charset=utf-8"), _CLOSE]
        if error.status == 405:
            fields.append(_ALLOW)  # RFC 9110 section 15.5.6
        start = _start(error.status, self.server_header, self.date)
        head = encode_head(start, fields, len(body))
        return head if asked is not None and asked.method == "HEAD" else head + body

    def _waiting(self) -> Request:
        if self.current is None:
            raise LocalProtocolError("no request waits for an answer")
        return self.current

    def _encode_response(self, request: Request, response: Response, size: int) -> bytes:
        length = _content_length(request, response, size)
        fields = list(response.fields())
        options = _connection_options(response)
        keep_alive = (
            request.keep_alive
            and not self.draining
            and not request.upgrade
            and b"close" not in options
        )
        if others := options - {b"close", b"keep-alive"}:
            fields.append((b"Connection", b", ".join(sorted(others))))
        server = b"" if "server" in response.headers else self.server_header
        date = b"" if "date" in response.headers else self.date
        start = _start(response.status, server, date)
        return self._encode_head(start, fields, length, request, keep_alive)

    def _encode_head(
        self,
        start: bytes,
        fields: list[tuple[bytes, bytes]],
        length: int,
        request: Request,
        keep_alive: bool,
    ) -> bytes:
        """Write the head, and go on to the next request."""
        if not keep_alive:
            fields.append(_CLOSE)
        elif request.version == "1.0":
            fields.append(_KEEP_ALIVE)
        head = encode_head(start, fields, length)
        self._finish(keep_alive)
        return head


@lru_cache(maxsize=64)
def _start(status: int, server: bytes, date: bytes) -> bytes:
    """Return the status line and the fields that many answers share."""
    start = f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii")
    if server:
        start += b"Server: " + server + b"\r\n"
    if date:
        start += b"Date: " + date + b"\r\n"
    return start


def _has_body(request: Request, response: Response) -> bool:
    return request.method != "HEAD" and response.status >= 200 and response.status not in BODILESS


def _content_length(request: Request, response: Response, size: int) -> int:
    """Return the length to declare, negative for none; RFC 9110 section 8.6."""
    declared = response.headers.get_all("content-length")
    if response.status == 204:
        return -1
    if response.status == 205:
        return 0
    if len(declared) > 1:
        raise LocalProtocolError("an answer with more than one Content-Length")
    if response.status == 304:
        return int(declared[0]) if declared else -1
    if declared and int(declared[0]) != size and not (request.method == "HEAD" and size == 0):
        raise LocalProtocolError(f"a Content-Length of {declared[0]} for a body of {size} bytes")
    return int(declared[0]) if declared else size


def _connection_options(response: Response) -> set[bytes]:
    if "connection" not in response.headers:
        return set()
    options: Iterable[bytes] = response.headers["connection"].encode("latin-1").split(b",")
    return {option.strip(b" \t").lower() for option in options} - {b""}


def _interim(request: Request, response: Response) -> bytes:
    """Return an interim answer: a head and nothing else; RFC 9110 section 15.2."""
    if response.status == 101:
        raise LocalProtocolError("101 is the first word of the next protocol: use upgrade")
    if request.version == "1.0":
        return b""  # a client of HTTP/1.0 would take it for the answer
    return encode_head(_start(response.status, b"", b""), response.fields(), -1)
