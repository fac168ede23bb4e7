"""Vectors of what a peer may send, and their loader.

A vector of `http` is two files of one name. `NAME.http` holds the bytes: line ends of the file
are not part of them, and a backslash escapes (`\\r \\n \\t \\\\ \\xNN`). `NAME.py` says what they
are: its docstring what is tried (with the row of the hardening list), `limits` the limits that
differ from the defaults, and

    valid/      `requests`: a dict for each request, of attributes of `Request`
    invalid/    `status`: that of the refusal; `requests`: how many are served before it;
                `eof`: whether it is the end of the stream that is refused
"""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HTTP = Path(__file__).parent / "http"

_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass
class Vector:
    """One input and what has to become of it."""

    name: str
    data: bytes
    limits: dict[str, Any] = field(default_factory=dict)
    requests: Any = 0
    status: int = 0
    eof: bool = False


def http_vectors(kind: str) -> list[Vector]:
    """Return the vectors of "valid" or "invalid", by name."""
    found = []
    for path in sorted((HTTP / kind).glob("*.http")):
        values = runpy.run_path(str(path.with_suffix(".py")))
        keys = ("limits", "requests", "status", "eof")
        known = {key: values[key] for key in keys if key in values}
        found.append(Vector(path.stem, _unescape(path.read_bytes()), **known))
    return found


def _unescape(text: bytes) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes.fromhex(code[1:].decode()) if code[:1] == b"x" else _ESCAPES[code]

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", replace, text.replace(b"\n", b""))
