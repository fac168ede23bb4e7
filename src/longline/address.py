"""The grammar of addresses: "websocket://0.0.0.0:2346" in, `Address` out.

    scheme://host:port          scheme: a protocol, such as tcp, text, http, websocket
    scheme://[v6]:port          an IPv6 host stands in brackets and may have a zone
    scheme+tls://host:port      the same under TLS
    scheme+udp://host:port      the same in datagrams
    scheme+unix:///path         the same on a Unix socket

    https  http+tls             ws    websocket       tls, ssl  tcp+tls
    wss    websocket+tls        unix  tcp+unix        udp       raw datagrams

Port 0 lets the kernel pick one. What could be read in two ways is refused, never repaired.
Nothing here knows which protocols exist, resolves a name or touches a file.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from string import ascii_letters, ascii_lowercase, digits, hexdigits
from typing import Literal, NoReturn, TypeAlias

from .errors import AddressError

__all__ = ["MAX_UNIX_PATH_BYTES", "Address", "Transport", "is_scheme", "parse_address"]

Transport: TypeAlias = Literal["tcp", "unix", "udp"]

MAX_UNIX_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""Longest path of a Unix socket: sockaddr_un holds 108 bytes on Linux, 104 on BSD and macOS."""

# Short form -> protocol and the modifiers that it implies.
_SHORT_FORMS: dict[str, tuple[str, frozenset[str]]] = {
    "https": ("http", frozenset({"tls"})),
    "ssl": ("tcp", frozenset({"tls"})),
    "tls": ("tcp", frozenset({"tls"})),
    "udp": ("udp", frozenset({"udp"})),
    "unix": ("tcp", frozenset({"unix"})),
    "ws": ("websocket", frozenset()),
    "wss": ("websocket", frozenset({"tls"})),
}

# What people call these; all others are written scheme+modifier.
_USUAL_NAMES = {
    "http+tls": "https",
    "tcp+tls": "tls",
    "tcp+unix": "unix",
    "udp+udp": "udp",
    "websocket+tls": "wss",
}

_MODIFIERS = ("tls", "unix", "udp")
_SCHEME_FIRST = frozenset(ascii_lowercase)
_SCHEME_BYTES = frozenset(ascii_lowercase + digits + "-")
_LABEL_BYTES = frozenset(ascii_letters + digits + "-_")


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens or connects to, and which protocol it speaks there.

    Args:
        scheme: Name of the protocol, never a short form: "websocket", not "wss".
        transport: What carries it.
        tls: Whether it runs under TLS.
        host: Name in lower case, IPv4, or compressed IPv6 without brackets; "" for Unix.
        port: 0 lets the kernel pick one; -1 for Unix.
        path: Absolute path of the Unix socket; "" for the others.
    """

    scheme: str
    transport: Transport = "tcp"
    tls: bool = False
    host: str = ""
    port: int = -1
    path: str = ""

    def __str__(self) -> str:
        modifier = "tls" if self.tls else "" if self.transport == "tcp" else self.transport
        scheme = f"{self.scheme}+{modifier}" if modifier else self.scheme
        scheme = _USUAL_NAMES.get(scheme, scheme)
        if self.transport == "unix":
            return f"{scheme}://{self.path}"
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        """Whether the host is an IPv6 address."""
        return ":" in self.host

    def with_port(self, port: int) -> Address:
        """Return the same address with another port, such as the one that the kernel picked.

        Raises:
            ValueError: The address is a Unix path, or the port is not within 0 to 65535.
        """
        if self.transport == "unix":
            raise ValueError(f"{self} has no port")
        if not 0 <= port <= 65535:
            raise ValueError(f"a port is a number from 0 to 65535, not {port!r}")
        return replace(self, port=port)


def parse_address(text: str) -> Address:
    """Return what `text` means by the grammar of this module.

    Raises:
        AddressError: The text breaks the grammar; one sentence names the part and why.
        TypeError: The address is no str.
    """
    if not isinstance(text, str):
        raise TypeError(f"an address is a str, not {type(text).__name__}")
    head, separator, rest = text.partition("://")
    if not separator:
        _refuse(text, "the scheme is missing (such as http://0.0.0.0:8080)")
    scheme, modifiers = _parse_scheme(text, head)
    if "unix" in modifiers:
        return Address(scheme, "unix", path=_parse_path(text, rest))
    host, port = _parse_authority(text, rest)
    return Address(scheme, "udp" if "udp" in modifiers else "tcp", "tls" in modifiers, host, port)


def is_scheme(name: str) -> bool:
    """Tell whether a protocol can have this name: well-formed, and no short form of another."""
    return _is_well_formed(name) and _SHORT_FORMS.get(name, (name,))[0] == name


def _is_well_formed(name: str) -> bool:
    return name[:1] in _SCHEME_FIRST and _SCHEME_BYTES.issuperset(name)


def _refuse(text: str, reason: str) -> NoReturn:
    # What precedes an "@" may be a password: then the text is not repeated.
    subject = "the address" if "@" in text else f"address {text!r}"
    raise AddressError(f"{subject}: {reason}")


def _parse_scheme(text: str, head: str) -> tuple[str, frozenset[str]]:
    """Return the protocol and the modifiers of what precedes "://"."""
    name, *added = head.split("+")
    if not _is_well_formed(name):
        _refuse(
            text,
            f"the scheme {name!r} must be lower-case letters, digits and hyphens, "
            "starting with a letter",
        )
    scheme, modifiers = _SHORT_FORMS.get(name, (name, frozenset[str]()))
    for modifier in added:
        if modifier not in _MODIFIERS:
            _refuse(text, f"'+{modifier}' is unknown; there are +tls, +unix and +udp")
        if modifier in modifiers:
            _refuse(text, f"the scheme {head!r} says {modifier!r} twice")
        modifiers |= {modifier}
    if len(modifiers) > 1:
        both = " and ".join(name for name in _MODIFIERS if name in modifiers)
        _refuse(text, f"the scheme {head!r} asks for {both} together, which is not offered")
    if scheme == "tcp" and "udp" in modifiers:
        _refuse(text, f"the scheme {head!r} contradicts itself; raw datagrams are udp://")
    return scheme, modifiers


def _refuse_controls(text: str, part: str, what: str) -> None:
    if any(character < " " or character == "\x7f" for character in part):
        _refuse(text, f"the {what} has a control character in it")


def _parse_path(text: str, path: str) -> str:
    """Return the path of a Unix socket."""
    if path.startswith(("@", "\0", "/@", "/\0")):
        _refuse(
            text,
            "abstract Unix names are not offered, since anybody could connect "
            "without a check of the peer's credentials",
        )
    if not path.startswith("/"):
        _refuse(text, f"the Unix path {path!r} is relative (three slashes: unix:///run/app.sock)")
    _refuse_controls(text, path, "Unix path")
    if "?" in path or "#" in path:
        _refuse(text, "an address takes no query or fragment")
    if path.endswith("/"):
        _refuse(text, f"the Unix path {path!r} names a directory")
    try:
        size = len(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        _refuse(text, "the Unix path cannot be written in UTF-8")
    if size > MAX_UNIX_PATH_BYTES:
        _refuse(
            text,
            f"the Unix path has {size} bytes; the system allows {MAX_UNIX_PATH_BYTES}",
        )
    return path


def _parse_authority(text: str, rest: str) -> tuple[str, int]:
    """Return host and port."""
    if "@" in rest:
        _refuse(text, "an address takes no user or password (there is an '@' in it)")
    _refuse_controls(text, rest, "host or port")
    if "?" in rest or "#" in rest:
        _refuse(text, "an address takes no query or fragment")
    if "/" in rest:
        _refuse(text, "an address with a host takes no path, not even a slash at its end")
    if rest.startswith("["):
        literal, bracket, after = rest[1:].partition("]")
        if not bracket:
            _refuse(text, "the bracket '[' is never closed")
        if after and not after.startswith(":"):
            _refuse(text, f"{after!r} follows the bracket ']' where ':port' should")
        return _parse_ipv6(text, literal), _parse_port(text, after[1:])
    if "[" in rest or "]" in rest:
        _refuse(text, "the brackets are not balanced around the host")
    host, _, port = rest.rpartition(":") if ":" in rest else (rest, "", "")
    if ":" in host:
        _refuse(text, f"an IPv6 host stands in brackets: [{host}]:{port}")
    return _parse_host(text, host), _parse_port(text, port)


def _parse_port(text: str, port: str) -> int:
    if not port:
        _refuse(text, "the port is missing (such as :8080; :0 picks a free one)")
    plain = port.isascii() and port.isdecimal() and (port == "0" or not port.startswith("0"))
    # The length first: int() refuses thousands of digits with an error of its own.
    if not plain or len(port) > 5 or int(port) > 65535:
        _refuse(text, f"the port {port!r} is not a plain number from 0 to 65535")
    return int(port)


def _parse_ipv6(text: str, literal: str) -> str:
    if not literal:
        _refuse(text, "the host is empty ([::] for all addresses)")
    if not literal.isascii() or " " in literal:
        _refuse(text, f"the host {literal!r} is no IPv6 address")
    try:
        return str(IPv6Address(literal))
    except AddressValueError:
        _refuse(text, f"the host {literal!r} is no IPv6 address")


def _parse_host(text: str, host: str) -> str:
    """Return an IPv4 address or a name, the latter in lower case."""
    if not host or host == "*":
        kind = "empty" if not host else "'*'"
        _refuse(text, f"the host is {kind} (0.0.0.0 for all addresses)")
    if not host.isascii():
        _refuse(text, f"the host {host!r} is not ASCII (write it in punycode: xn--...)")
    labels = host.removesuffix(".").split(".")
    for label in labels:
        if not label or len(label) > 63 or not _LABEL_BYTES.issuperset(label):
            _refuse(text, f"the host {host!r} is neither a name nor an IP address")
        if label.startswith("-") or label.endswith("-"):
            _refuse(text, f"a part of the host {host!r} begins or ends with a hyphen")
    if len(host) > 253:
        _refuse(text, f"the host has {len(host)} characters; a name has at most 253")
    if _is_number(labels[-1]):
        # Resolvers read 127.1, 0x7f000001 and 010.0.0.1 as IPv4, each in its own way.
        try:
            IPv4Address(host)
        except AddressValueError:
            _refuse(text, f"the host {host!r} is no IPv4 address in four plain numbers")
    return host.lower()


def _is_number(label: str) -> bool:
    """Whether a resolver could take the last label of a host for a number."""
    if label[:2] in ("0x", "0X"):
        return frozenset(hexdigits).issuperset(label[2:])
    return frozenset(digits).issuperset(label)
