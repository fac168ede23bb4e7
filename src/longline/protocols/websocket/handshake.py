"""The server's side of the WebSocket handshake (RFC 6455 section 4.2), on a parsed request.

    key = check_handshake(request)                      # or 400, 405, 426
    check_origin(origin, host, secure, allowed)         # or 403, before any user code
    switching_protocols(key, "chat")                    # the 101

The request is whatever has `method`, `version` and `headers`. Names of header fields, tokens
and origins are ASCII; what is not is refused before it is compared.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ...errors import ConfigurationError, LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "REFUSAL_HEADERS",
    "Extension",
    "UpgradeRequest",
    "check_handshake",
    "check_origin",
    "check_origins",
    "parse_extensions",
    "parse_subprotocols",
    "switching_protocols",
]

REFUSAL_HEADERS: dict[int, tuple[tuple[str, str], ...]] = {
    405: (("Allow", "GET"),),
    426: (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
    ),
}
"""Header fields that the answer to a refused handshake needs, by its status.

RFC 9110 sections 15.5.6 and 15.5.22; RFC 6455 section 4.4.
"""

Extension: TypeAlias = tuple[str, tuple[tuple[str, str | None], ...]]
"""An extension that a client offers: its name, and its parameters in order."""


class Headers(Protocol):
    """Header fields, with names that are not case-sensitive."""

    def get_all(self, name: str, /) -> Sequence[str]:
        """Return the values of all fields of that name, in order."""
        ...


class UpgradeRequest(Protocol):
    """What a handshake looks at."""

    @property
    def method(self) -> str:
        """The request method, as sent."""
        ...

    @property
    def version(self) -> str:
        """The HTTP version, such as "1.1"."""
        ...

    @property
    def headers(self) -> Headers:
        """The header fields."""
        ...


# All patterns below are one run of a character class after the other: linear.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_AUTHORITY = re.compile(rb"([a-z0-9\-._~]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3.

_OWN_FIELDS = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "transfer-encoding",
        "upgrade",
    }
)


def check_handshake(request: UpgradeRequest) -> str:
    """Check that a request opens a WebSocket of version 13, and return its key.

    Raises:
        RemoteProtocolError: It does not: status 405 for another method than GET, 426 for
            another version or for a request that asks for no upgrade at all, 400 for the
            rest. `REFUSAL_HEADERS` has what the answer needs.
    """
    if request.method != "GET":
        raise RemoteProtocolError("a WebSocket handshake is a GET", status=405)
    if request.version != "1.1":
        raise RemoteProtocolError("a WebSocket handshake is HTTP/1.1")
    headers = request.headers
    upgrade = headers.get_all("Upgrade")
    if not upgrade:
        raise RemoteProtocolError("the request asks for no upgrade", status=426)
    if b"websocket" not in _lower_list("Upgrade", upgrade):
        raise RemoteProtocolError("Upgrade does not name websocket")
    if b"upgrade" not in _lower_list("Connection", headers.get_all("Connection")):
        raise RemoteProtocolError("Connection does not name upgrade")
    _check_version(headers.get_all("Sec-WebSocket-Version"))
    if len(headers.get_all("Origin")) > 1:
        raise RemoteProtocolError("more than one Origin")
    parse_subprotocols(headers.get_all("Sec-WebSocket-Protocol"))
    parse_extensions(headers.get_all("Sec-WebSocket-Extensions"))
    return _check_key(headers.get_all("Sec-WebSocket-Key"))


def parse_subprotocols(values: Sequence[str]) -> tuple[str, ...]:
    """Return what a client offers in `Sec-WebSocket-Protocol`, the preferred one first.

    Args:
        values: All fields of that name.

    Raises:
        RemoteProtocolError: An element is no token, or is repeated (RFC 6455 section 4.1).
    """
    elements = _elements("Sec-WebSocket-Protocol", values)
    names = dict.fromkeys(_token("Sec-WebSocket-Protocol", element) for element in elements)
    if len(names) < len(elements):
        raise RemoteProtocolError("Sec-WebSocket-Protocol names one protocol twice")
    return tuple(names)


def parse_extensions(values: Sequence[str]) -> tuple[Extension, ...]:
    """Return what a client offers in `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).

    Args:
        values: All fields of that name.

    Raises:
        RemoteProtocolError: The header is malformed.
    """
    # A quoted value has to be a token as well, so no comma or semicolon hides inside quotes.
    extensions: list[Extension] = []
    for element in _elements("Sec-WebSocket-Extensions", values):
        name, *parameters = element.split(b";")
        extensions.append(
            (
                _token("Sec-WebSocket-Extensions", name),
                tuple(_parse_parameter(parameter) for parameter in parameters),
            )
        )
    return tuple(extensions)


def check_origin(
    origin: str | None, host: str | None, secure: bool, allowed: tuple[str, ...] | None
) -> bool:
    """Return whether a page of `origin` may open a WebSocket here (RFC 6455 section 10.2).

    Without this check any page a user visits could talk to us with the user's cookies.

    Args:
        origin: The `Origin` header. None is allowed: only browsers send it, and a program
            that is none could write what it likes.
        host: The host that the client asked for, with its port unless that is the default.
        secure: Whether the client came over TLS.
        allowed: Origins such as "https://example.com:8443"; "*" is any; "null" is that of
            sandboxed pages and local files. None is the origin of this very host. A list
            holds alone: who names his origins is safe from names that were made to point
            here (DNS rebinding), which "the same host" is not.
    """
    if origin is None:
        return True
    if allowed is not None:
        if "*" in allowed or (origin == "null" and "null" in allowed):
            return True
        wanted = _parse_origin(origin)
        return wanted is not None and any(_parse_origin(entry) == wanted for entry in allowed)
    if host is None:
        return False
    scheme = "https" if secure else "http"
    own = _parse_origin(f"{scheme}://{host}")
    return own is not None and _parse_origin(origin) == own


def check_origins(allowed: Iterable[str]) -> tuple[str, ...]:
    """Return a list for `check_origin`, proved to hold nothing that could never match.

    Raises:
        ConfigurationError: An entry is no origin, or a lone string was given.
    """
    if isinstance(allowed, str):
        raise ConfigurationError("origins are a list of strings, not one string")
    entries = tuple(allowed)
    for entry in entries:
        if entry not in ("*", "null") and _parse_origin(entry) is None:
            raise ConfigurationError(
                f"{entry!r} is no origin: write scheme://host or scheme://host:port, without a path"
            )
    return entries


def switching_protocols(
    key: str, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return the head of the 101 that accepts a handshake (RFC 6455 section 4.2.2).

    Args:
        key: What `check_handshake` returned.
        subprotocol: One of those that the client offered.
        headers: Further fields, such as cookies.

    Raises:
        LocalProtocolError: A field has a name or a value that HTTP cannot express, or is one
            that this head sets itself.
    """
    accept = b64encode(sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest())
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept.decode('ascii')}",
    ]
    if subprotocol is not None:
        if not _is_token(subprotocol):
            raise LocalProtocolError("a sub-protocol is one token")
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    for name, value in headers:
        _check_field(name, value)
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _check_field(name: str, value: str) -> None:
    if not _is_token(name):
        raise LocalProtocolError(f"{name!r} is no name of a header field")
    if name.lower() in _OWN_FIELDS:
        raise LocalProtocolError(f"the handshake sets {name} itself")
    if _FIELD_VALUE.fullmatch(value) is None:
        raise LocalProtocolError(f"the value of {name} has characters that HTTP forbids")


def _check_version(values: Sequence[str]) -> None:
    if len(values) > 1:
        raise RemoteProtocolError("more than one Sec-WebSocket-Version")
    if not values or values[0] != "13":
        raise RemoteProtocolError("the WebSocket version is not 13", status=426)


def _check_key(values: Sequence[str]) -> str:
    """Return the only key, which is the base64 of 16 bytes (RFC 6455 section 4.2.1, 5)."""
    if len(values) != 1:
        raise RemoteProtocolError("there is not exactly one Sec-WebSocket-Key")
    if _KEY.fullmatch(_ascii("Sec-WebSocket-Key", values[0])) is None:
        raise RemoteProtocolError("Sec-WebSocket-Key is not the base64 of 16 bytes")
    return values[0]


def _parse_parameter(parameter: bytes) -> tuple[str, str | None]:
    name, equals, value = parameter.partition(b"=")
    token = _token("Sec-WebSocket-Extensions", name)
    if not equals:
        return token, None
    value = value.strip(b" \t")
    if len(value) >= 2 and value[:1] == value[-1:] == b'"':
        value = value[1:-1]
        if value[:1] in (b" ", b"\t") or value[-1:] in (b" ", b"\t"):
            raise RemoteProtocolError("Sec-WebSocket-Extensions is malformed")
    return token, _token("Sec-WebSocket-Extensions", value)


def _elements(name: str, values: Sequence[str]) -> list[bytes]:
    """Return the elements of a comma-separated header, spread over any number of fields."""
    return [element for value in values for element in _ascii(name, value).split(b",")]


def _lower_list(name: str, values: Sequence[str]) -> list[bytes]:
    return [element.strip(b" \t").lower() for element in _elements(name, values)]


def _token(name: str, element: bytes) -> str:
    token = element.strip(b" \t")
    if _TOKEN.fullmatch(token) is None:
        raise RemoteProtocolError(f"{name} is malformed")
    return token.decode("ascii")


def _is_token(text: str) -> bool:
    return text.isascii() and _TOKEN.fullmatch(text.encode("ascii")) is not None


def _ascii(name: str, value: str) -> bytes:
    try:
        return value.encode("ascii")
    except UnicodeEncodeError:
        raise RemoteProtocolError(f"{name} is not ASCII") from None


def _parse_origin(text: str) -> tuple[bytes, bytes, int] | None:
    """Return scheme, host and port of an origin (RFC 6454 section 6.1); None if it is none."""
    if not text.isascii():
        return None
    scheme, separator, authority = text.encode("ascii").lower().partition(b"://")
    match = _AUTHORITY.fullmatch(authority)
    if scheme not in (b"http", b"https") or not separator or match is None:
        return None
    host, port = match.groups()
    number = int(port) if port else (443 if scheme == b"https" else 80)
    return (scheme, host, number) if number < 0x10000 else None
