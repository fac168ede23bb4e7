"""Figures and foreign text, as people read them in a table.

The figures come from worker processes and the names from applications and peers: what is no
number is shown as `-`, and nothing that could move a terminal's cursor gets there (Q-5).
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["address", "count", "duration", "lag", "one_line", "rate", "size", "visible"]

_ABSENT = "-"
_UNITS = ("s", 60), ("m", 60), ("h", 24), ("d", math.inf)


def visible(value: Any) -> str:
    """Return text with everything escaped that does not print, direction marks included."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str) -> str:
    """Return an error's text as the one line that a user gets."""
    return visible(" ".join(text.split()))


def count(value: Any) -> str:
    """Return a number of things: exact up to 9999, then `12.3k`, `4.5M`."""
    if not _is_number(value):
        return _ABSENT
    if abs(value) < 10_000:
        return f"{value:.0f}"
    return _scaled(value, 1000.0, "kMGTP")


def size(value: Any) -> str:
    """Return bytes as `512B`, `1.5K`, `20.0M`: powers of 1024."""
    if not _is_number(value):
        return _ABSENT
    return f"{value:.0f}B" if abs(value) < 1024 else _scaled(value, 1024.0, "KMGTP")


def rate(value: Any) -> str:
    """Return events a second."""
    if not _is_number(value):
        return _ABSENT
    return f"{value:.1f}" if 0 < value < 100 else count(value)


def lag(value: Any) -> str:
    """Return how late a loop turns, given in seconds: `0ms`, `35ms`, `2.1s`."""
    if not _is_number(value):
        return _ABSENT
    return f"{value * 1000:.0f}ms" if value < 1 else f"{value:.1f}s"


def duration(value: Any) -> str:
    """Return seconds in the two largest units: `42s`, `3m10s`, `2h5m`, `12d7h`."""
    if not _is_number(value):
        return _ABSENT
    smaller, left = "", int(max(0, value))
    for unit, size_of_next in _UNITS:
        if left < size_of_next:
            return f"{left}{unit}{smaller}"
        left, rest = divmod(left, int(size_of_next))
        smaller = f"{rest}{unit}" if rest else ""
    return _ABSENT


def address(value: Any) -> str:
    """Return a peer's address: text as it is, host and port joined."""
    if isinstance(value, list) and len(value) >= 2:
        host = str(value[0])
        return visible(f"[{host}]:{value[1]}" if ":" in host else f"{host}:{value[1]}")
    return visible(value) if value else _ABSENT


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _scaled(value: float, base: float, units: str) -> str:
    for unit in units:
        value /= base
        if abs(value) < base or unit == units[-1]:
            break
    return f"{value:.1f}{unit}"
