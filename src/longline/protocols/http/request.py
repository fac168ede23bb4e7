"""One request, as a handler sees it: bytes of the head, decoded when asked for."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import msgspec

from ...errors import RemoteProtocolError
from .cookie import parse_cookies
from .head import Headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..._core import RequestHead

__all__ = ["Request"]

# Linear: the repetition is possessive, and what stands before it is fixed.
_AUTHORITY = re.compile(rb"[A-Za-z]{4,5}://[^/?]++")
_LATIN_1_LABELS = (b"charset=iso-8859-1", b"charset=latin1", b'charset="iso-8859-1"')


class Request:
    """A complete request: head and body.

    Whatever is decoded is decoded when first asked for and kept. Any attribute may be set, so
    that one part of an application can leave something for another.

    Args:
        head: What `parse_head` made of the head.
        body: The whole body, without its framing.
        trailers: Fields that came behind a chunked body.
        max_fields: Most fields of the query string; None is unlimited.
    """

    connection: Any = None
    """The connection that the request came by; None in tests of a codec alone."""

    def __init__(
        self,
        head: RequestHead,
        body: bytes = b"",
        trailers: Iterable[tuple[bytes, bytes]] = (),
        max_fields: int | None = None,
    ) -> None:
        self._head: RequestHead | _PackedHead = head
        self._trailers = trailers
        self._max_fields = max_fields
        self.method: str = head.method
        self.body = body
        self.keep_alive: bool = head.keep_alive

    def compact(self) -> None:
        """Shrink to what is needed to decode everything anew, for who keeps it for long."""
        for name in _DECODED:
            vars(self).pop(name, None)
        if not isinstance(self._head, _PackedHead):
            self._head = _PackedHead(self._head)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r}>"

    @property
    def version(self) -> str:
        """The version of HTTP: "1.1" or "1.0"."""
        return "1.1" if self._head.minor else "1.0"

    @property
    def upgrade(self) -> str | None:
        """ "websocket" when the request asks to change to it (RFC 6455 section 4.2.1)."""
        wanted = self._head.upgrade
        if not wanted or self.method != "GET":
            return None
        names = [name.strip(b" \t") for name in wanted.split(b",")]
        return "websocket" if b"websocket" in names else None

    @property
    def host(self) -> str | None:
        """Whom the request is for, with the port if one was named; None in HTTP/1.0 at most."""
        host = self._head.host
        return None if host is None else host.decode("ascii")

    @property
    def target(self) -> str:
        """The request target as it came, decoded as Latin-1."""
        return self._head.target.decode("latin-1")

    @cached_property
    def raw_path(self) -> str:
        """The path as it came, still percent-encoded, decoded as Latin-1."""
        return self._split_target()[0].decode("latin-1")

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded once as UTF-8; malformed UTF-8 becomes U+FFFD.

        It is data, not a file name: it may hold "..", NUL and slashes that were encoded. A
        path that begins with two slashes stays one, it never names a host.
        """
        path = self._split_target()[0]
        if b"%" in path:
            path = unquote_to_bytes(path)
        return path.decode("utf-8", "replace")

    @cached_property
    def query_string(self) -> str:
        """What follows the first question mark, as it came, decoded as Latin-1."""
        return self._split_target()[1].decode("latin-1")

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The fields of the query string; of equal names the last counts.

        Raises:
            RemoteProtocolError: There are more than `max_fields` (400).
        """
        return {name: values[-1] for name, values in self._query_fields.items()}

    def query_all(self, name: str) -> list[str]:
        """Return every value of one field of the query string, in order.

        Raises:
            RemoteProtocolError: There are more than `max_fields` (400).
        """
        return list(self._query_fields.get(name, ()))

    @cached_property
    def headers(self) -> Headers:
        """The header fields."""
        return Headers(self._head.fields)

    def header(self, name: str, default: str | None = None) -> str | None:
        """Return the value of one header field, or `default`."""
        return self.headers.get(name, default)

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """The cookies, not percent-decoded; malformed ones are left out (`parse_cookies`)."""
        return parse_cookies(self.headers.get("cookie", "").encode("latin-1"))

    @cached_property
    def trailers(self) -> Headers:
        """The fields that came behind a chunked body; never merged into `headers`."""
        return Headers(self._trailers)

    @property
    def text(self) -> str:
        """The body as text: UTF-8, or Latin-1 if `Content-Type` says so.

        Malformed UTF-8 becomes U+FFFD. No other name of an encoding is looked up, since the
        peer would choose among decoders that were never meant for a peer's bytes.
        """
        content_type = self.headers.get("content-type", "").encode("latin-1").lower()
        if any(label in content_type for label in _LATIN_1_LABELS):
            return self.body.decode("latin-1")
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body decoded as JSON (RFC 8259), anew with each call.

        Raises:
            RemoteProtocolError: The body is no JSON, nested too deeply, or has a number that
                no reader agrees on: NaN, an infinity, an integer of many digits (400).
        """
        try:
            return msgspec.json.decode(self.body)
        except (ValueError, RecursionError) as error:
            # Both of msgspec's errors, and that of malformed UTF-8, are ValueErrors.
            raise RemoteProtocolError("a body that is no JSON") from error

    def _split_target(self) -> tuple[bytes, bytes]:
        """Return the path and the query string as bytes."""
        target = self._head.target
        if not target.startswith((b"/", b"*")):
            # RFC 9112 section 3.2.2: the absolute form, whose path may be missing.
            match = _AUTHORITY.match(target)
            target = target[match.end() :] if match else target
            if not target.startswith(b"/"):
                target = (b"*" if self.method == "OPTIONS" and not target else b"/") + target
        path, _, query = target.partition(b"?")
        return path, query

    @cached_property
    def _query_fields(self) -> dict[str, list[str]]:
        query = self._split_target()[1]
        limit = self._max_fields
        if limit is not None and query.count(b"&") >= limit:
            raise RemoteProtocolError(f"more than {limit} fields in a query (max_fields)")
        fields: dict[str, list[str]] = {}
        for pair in query.split(b"&"):
            if pair:
                name, _, value = pair.partition(b"=")
                fields.setdefault(_form_text(name), []).append(_form_text(value))
        return fields


_DECODED = tuple(
    name for name, value in vars(Request).items() if isinstance(value, cached_property)
)


class _PackedHead:
    """A head whose fields are one piece of bytes: what a `Request` asks of a `RequestHead`."""

    __slots__ = ("_lines", "host", "minor", "target", "upgrade")

    def __init__(self, head: RequestHead) -> None:
        self.minor = head.minor
        self.target = head.target
        self.host = head.host
        self.upgrade = head.upgrade
        # No line feed is in a name or a value, no colon in a name.
        self._lines = b"\n".join(name + b":" + value for name, value in head.fields)

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names and values as they came, in order."""
        pairs = (line.partition(b":") for line in self._lines.split(b"\n") if line)
        return [(name, value) for name, _, value in pairs]


def _form_text(encoded: bytes) -> str:
    """Decode one name or value of the URL standard's application/x-www-form-urlencoded."""
    plain = encoded.replace(b"+", b" ")
    if b"%" in plain:
        plain = unquote_to_bytes(plain)
    return plain.decode("utf-8", "replace")
