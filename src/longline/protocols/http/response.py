"""One answer, as a handler makes it; what cannot be written is refused by the setter."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from ...errors import LocalProtocolError
from .cookie import format_cookie
from .head import Headers
from .mime import guess_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import PurePath

__all__ = ["BODILESS", "Response", "ResponseHeaders", "encode_body", "reason_phrase"]

# Linear: a single possessive repetition of single characters each (RFC 9110 section 5.5).
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_VALUE = re.compile(r"[\t -~\x80-\xff]*+")
_LENGTH = re.compile(r"[0-9]{1,19}+")
_LOCATION = re.compile(r"[!-\[\]-~\x80-\U0010ffff]++")

_REASONS = {status.value: status.phrase for status in HTTPStatus}

# RFC 9110 renamed these after Python's table was made.
_REASONS[413] = "Content Too Large"
_REASONS[414] = "URI Too Long"
_REASONS[422] = "Unprocessable Content"

BODILESS = (204, 205, 304)
"""Statuses of answers without a body, whatever the handler gave (RFC 9110 section 15)."""

_REDIRECTS = (301, 302, 303, 307, 308)
_FRAMING = (b"transfer-encoding", b"trailer")


def reason_phrase(status: int) -> str:
    """Return the registered phrase of a status code, or an empty one."""
    return _REASONS.get(status, "")


def encode_body(message: Any) -> tuple[bytes, str]:
    """Return a message as the bytes of a body, and their content type.

    Raises:
        TypeError: Neither text, bytes, a dict nor a list; or JSON has no form for a part.
        LocalProtocolError: Text that UTF-8 cannot express, a nesting without end.
    """
    try:
        if isinstance(message, str):
            return message.encode(), "text/html; charset=utf-8"
        if isinstance(message, bytes | bytearray | memoryview):
            return bytes(message), "application/octet-stream"
        if isinstance(message, dict | list):
            return msgspec.json.encode(message), "application/json"
    except (UnicodeEncodeError, RecursionError, OverflowError) as error:
        raise LocalProtocolError(f"a body that cannot be encoded: {error}") from error
    raise TypeError(f"no body can be made of {type(message).__name__}")


class ResponseHeaders(Headers, MutableMapping[str, str]):
    """The header fields of an answer: assigning replaces, `add` appends.

    Content-Length may be announced for HEAD and 304, and has to be true otherwise. How a body
    is framed is for the codec to say: Transfer-Encoding and Trailer are refused.
    """

    __slots__ = ()

    def __setitem__(self, name: str, value: str) -> None:
        field = _checked_field(name, value)
        self._drop(field[0].lower())
        self._append(field)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._drop(name.encode("ascii").lower())

    def add(self, name: str, value: str) -> None:
        """Append a field, beside those of the same name.

        Raises:
            ValueError: The name is no token or not the caller's to set; the value has a
                control character or one beyond Latin-1.
            TypeError: One of them is no str.
        """
        self._append(_checked_field(name, value))

    def _append(self, field: tuple[bytes, bytes]) -> None:
        self._fields.append(field)
        self._index = None

    def _drop(self, key: bytes) -> None:
        self._fields = [field for field in self._fields if field[0].lower() != key]
        self._index = None


def _checked_field(name: str, value: str) -> tuple[bytes, bytes]:
    for part in (name, value):
        if not isinstance(part, str):
            raise TypeError(f"header names and values are str, not {type(part).__name__}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"a header name is a token, which {name!r} is not")
    if _VALUE.fullmatch(value) is None:
        raise ValueError(f"a header value is Latin-1 without controls, which {value!r} is not")
    key = name.encode("ascii").lower()
    if key in _FRAMING:
        raise ValueError(f"{name} is for the codec to set")
    if key == b"content-length" and _LENGTH.fullmatch(value) is None:
        raise ValueError(f"a Content-Length is a number, which {value!r} is not")
    return name.encode("ascii"), value.encode("latin-1")


class Response:
    """The answer to one request.

    Args:
        body: Text, bytes, or a dict or list for JSON.
        status: 100 to 599.
        headers: Names and values.
        content_type: The media type; by default that of the body's type, and none for an
            empty one of bytes.

    Raises:
        ValueError: A status, name or value that cannot be written.
        TypeError: A part is not of its type.
    """

    __slots__ = ("_body", "_default_type", "_status", "file_path", "headers")

    def __init__(
        self,
        body: Any = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        content_type: str | None = None,
    ) -> None:
        self.file_path: str | PurePath | None = None
        """The file whose content is the body; the connection opens it."""
        self.body = body
        self.status = status
        self.headers: ResponseHeaders = ResponseHeaders()
        """The header fields, case-insensitive."""
        if headers:
            for name, value in headers.items():
                self.headers.add(name, value)
        if content_type is not None:
            self.headers["Content-Type"] = content_type

    def __repr__(self) -> str:
        return f"<Response {self._status} {self.content_type}>"

    @property
    def status(self) -> int:
        """The status code, 100 to 599; its phrase is the registered one."""
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"a status is an int, not {type(status).__name__}")
        if not 100 <= status <= 599:
            raise ValueError(f"a status is 100 to 599, not {status}")
        self._status = int(status)

    @property
    def body(self) -> bytes:
        """The body as it will be written; empty for a file."""
        return self._body

    @body.setter
    def body(self, body: Any) -> None:
        self._body, self._default_type = encode_body(body)
        if isinstance(body, bytes) and not body:
            self._default_type = ""

    @property
    def content_type(self) -> str | None:
        """The media type that will be written, None if none."""
        return self.headers.get("content-type") or self._default_type or None

    @content_type.setter
    def content_type(self, content_type: str) -> None:
        self.headers["Content-Type"] = content_type

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        http_only: bool = True,
        same_site: str | None = "Lax",
    ) -> None:
        """Send a cookie along; the arguments and errors are those of `format_cookie`."""
        cookie = format_cookie(
            name,
            value,
            max_age=max_age,
            path=path,
            domain=domain,
            secure=secure,
            http_only=http_only,
            same_site=same_site,
        )
        self.headers.add("Set-Cookie", cookie)

    @classmethod
    def json(cls, data: Any, status: int = 200) -> Response:
        """Answer with any value that JSON can express.

        Raises:
            TypeError: JSON has no form for a part of it.
            LocalProtocolError: A nesting without end, or text that UTF-8 cannot express.
        """
        try:
            body = msgspec.json.encode(data)
        except (UnicodeEncodeError, RecursionError, OverflowError) as error:
            raise LocalProtocolError(f"a value that JSON cannot express: {error}") from error
        return cls(body, status, content_type="application/json")

    @classmethod
    def redirect(
        cls, location: str, status: int = 302, *, allowed_hosts: Collection[str] = ()
    ) -> Response:
        """Send the client to another place.

        Args:
            location: A path that begins with one slash; or an http or https URL, which has to
                lead to one of `allowed_hosts`, so that a peer's input never leads away.
            status: 301, 302, 303, 307 or 308.
            allowed_hosts: Host names in lower case, without port.

        Raises:
            ValueError: Any other location or status.
        """
        if status not in _REDIRECTS:
            raise ValueError(f"a redirect has one of {_REDIRECTS}, not {status!r}")
        # A backslash is a slash to browsers, so "/\\evil.example" would leave the site.
        if not isinstance(location, str) or _LOCATION.fullmatch(location) is None:
            raise ValueError(f"a location has no space, control or backslash: {location!r}")
        if not location.startswith("/") or location.startswith("//"):
            parts = urlsplit(location)
            if parts.scheme not in ("http", "https") or parts.hostname not in allowed_hosts:
                raise ValueError(f"{location!r} leads to a host that is not in allowed_hosts")
        ascii_location = quote(location, safe="!#$%&'()*+,/:;=?@[]~")
        return cls(b"", status, {"Location": ascii_location})

    @classmethod
    def file(
        cls,
        path: str | PurePath,
        *,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer with the content of a file, which the connection opens and sends.

        Args:
            path: Where it is. Never made of a peer's input without a check.
            content_type: Its media type; by default what its extension says (`mime`), else
                application/octet-stream.
            headers: Names and values.
        """
        response = cls(b"", 200, headers, content_type=content_type)
        response.headers.setdefault("Content-Type", guess_type(path))
        response.file_path = path
        return response

    def fields(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield what the codec writes as it is: all but what it settles itself."""
        for name, value in self.headers.raw:
            if name.lower() not in (b"connection", b"content-length"):
                yield name, value
        if (
            self._default_type
            and self._status not in BODILESS
            and "content-type" not in self.headers
        ):
            yield b"Content-Type", self._default_type.encode("ascii")
