"""The vectors of tests/corpus/http, as bytes for a socket.

`NAME.http` holds the bytes: line ends of the file are not part of them, and a backslash
escapes. `NAME.py` says what they are (`limits`, `requests`, `status`, `eof`).
"""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parents[1] / "corpus" / "http"

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


def vectors(kind: str) -> list[Vector]:
    """Return the vectors of "valid" or "invalid", by name."""
    found = []
    for path in sorted((CORPUS / kind).glob("*.http")):
        values = runpy.run_path(str(path.with_suffix(".py")))
        known = {
            key: values[key] for key in ("limits", "requests", "status", "eof") if key in values
        }
        found.append(Vector(path.stem, _unescape(path.read_bytes()), **known))
    return found


def _unescape(text: bytes) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes.fromhex(code[1:].decode()) if code[:1] == b"x" else _ESCAPES[code]

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", replace, text.replace(b"\n", b""))
