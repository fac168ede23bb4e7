"""Cookies, both ways: the `Cookie` field read, a `Set-Cookie` value written (RFC 6265).

What comes from the peer is read leniently, since one bad cookie, set by a neighbour under
the same domain, must not lock a user out: it is passed over. What we write is strict.
"""

from __future__ import annotations

import re

__all__ = ["MAX_COOKIES", "MAX_COOKIE_BYTES", "format_cookie", "parse_cookies"]

MAX_COOKIES = 100
"""Cookies read from one request; browsers keep 50 to 180 a site."""

MAX_COOKIE_BYTES = 8192
"""Bytes of the `Cookie` field that are read."""

# Linear, each one: a single repetition of single characters (RFC 9110 section 5.6.2,
# RFC 6265 section 4.1.1).
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_RECEIVED_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*+")
_RECEIVED_VALUE = re.compile(rb"[\t -~\x80-\xff]*+")
_PATH = re.compile(r"/[ -:<-~]*+")
_DOMAIN = re.compile(r"[0-9A-Za-z.\-]++")

_SAME_SITE = ("Strict", "Lax", "None")


def parse_cookies(field: bytes) -> dict[str, str]:
    """Return the cookies of a `Cookie` field; of equal names the first counts.

    Browsers send the cookie of the longest path first. Names are tokens, values are as they
    came, without the quotes around them; nothing is percent-decoded. What is malformed, and
    what lies beyond `MAX_COOKIES` or `MAX_COOKIE_BYTES`, is left out.

    Args:
        field: The field's value; several fields are joined with "; ".
    """
    if len(field) > MAX_COOKIE_BYTES:
        # The last one may be cut in two, and half a cookie is none.
        field = field[: field.rfind(b";", 0, MAX_COOKIE_BYTES) + 1]
    cookies: dict[str, str] = {}
    for pair in field.split(b";", MAX_COOKIES)[:MAX_COOKIES]:
        name, equals, value = pair.partition(b"=")
        name = name.strip(b" \t")
        value = value.strip(b" \t")
        if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
            value = value[1:-1]
        if equals and _RECEIVED_NAME.fullmatch(name) and _RECEIVED_VALUE.fullmatch(value):
            cookies.setdefault(name.decode("ascii"), value.decode("latin-1"))
    return cookies


def format_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    http_only: bool = True,
    same_site: str | None = "Lax",
) -> str:
    """Return the value of a `Set-Cookie` field; RFC 6265 section 4.1.

    Args:
        name: A token.
        value: Printable ASCII without space, quote, comma, semicolon and backslash. Encode
            anything else, since no two readers agree on it.
        max_age: Seconds to live; 0 deletes the cookie; None lets it die with the browser.
        path: The path that it is for, and everything below; None is the request's directory.
        domain: The domain that it is for, and everything below; None is this host only.
        secure: Whether it travels over TLS only.
        http_only: Whether scripts of the page do not see it.
        same_site: "Strict", "Lax" or "None" (which browsers accept with `secure` only); None
            leaves it to the browser.

    Raises:
        ValueError: A part has a byte that it cannot have, or the parts contradict each other.
        TypeError: A part is not of its type.
    """
    parts = [f"{_checked('name', name, _TOKEN)}={_checked('value', value, _VALUE)}"]
    if max_age is not None:
        if isinstance(max_age, bool) or not isinstance(max_age, int):
            raise TypeError(f"a cookie's max_age is an int, not {type(max_age).__name__}")
        parts.append(f"Max-Age={max_age}")
    if path is not None:
        parts.append(f"Path={_checked('path', path, _PATH)}")
    if domain is not None:
        parts.append(f"Domain={_checked('domain', domain, _DOMAIN)}")
    if secure:
        parts.append("Secure")
    if http_only:
        parts.append("HttpOnly")
    if same_site is not None:
        if same_site not in _SAME_SITE:
            raise ValueError(f"a cookie's same_site is one of {_SAME_SITE}, not {same_site!r}")
        if same_site == "None" and not secure:
            raise ValueError("a cookie with same_site 'None' has to be secure")
        parts.append(f"SameSite={same_site}")
    return "; ".join(parts)


def _checked(part: str, text: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a cookie's {part} is a str, not {type(text).__name__}")
    if pattern.fullmatch(text) is None:
        raise ValueError(f"a cookie's {part} cannot be {text!r}")
    return text
