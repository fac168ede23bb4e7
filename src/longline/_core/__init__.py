"""The hot paths, compiled or not: the only place that chooses.

    wire    length, line and WebSocket framing, masking
    http    request head, chunked body, response head
    stream  a connection's read and write path (its states and reasons to hold: `_states`)

Each has a plain Python twin (`_pywire`, `_pyhttp`, `_pystream`), which is the specification,
the fallback and the oracle of the parity tests. `LONGLINE_CORE` chooses: "auto" (compiled
where it was built), "py", "compiled" (an absent extension is an error). Names are loaded
when first used, so that sans-I/O code never pulls in the loop through `stream`.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ._pyhttp import ChunkedReader, RequestHead, encode_head, parse_head
    from ._pystream import Stream
    from ._pywire import FrameReader, LengthReader, LineReader, apply_mask, encode_frame

__all__ = [
    "COMPILED",
    "ChunkedReader",
    "FrameReader",
    "LengthReader",
    "LineReader",
    "RequestHead",
    "Stream",
    "apply_mask",
    "encode_frame",
    "encode_head",
    "parse_head",
]

_HOMES = {
    "ChunkedReader": "http",
    "RequestHead": "http",
    "encode_head": "http",
    "parse_head": "http",
    "Stream": "stream",
    "FrameReader": "wire",
    "LengthReader": "wire",
    "LineReader": "wire",
    "apply_mask": "wire",
    "encode_frame": "wire",
}


def _choose() -> bool:
    mode = os.environ.get("LONGLINE_CORE", "auto")
    if mode not in ("auto", "py", "compiled"):
        raise ConfigurationError(f"LONGLINE_CORE is auto, py or compiled, not {mode!r}")
    # Asking for the file, not importing it: an extension that is there but broken stays loud.
    present = find_spec(f"{__name__}._wire") is not None
    if mode == "compiled" and not present:
        raise ConfigurationError("LONGLINE_CORE=compiled, but the extension was not built")
    return present and mode != "py"


COMPILED: bool = _choose()
"""Whether the compiled core is in use."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"._{home}" if COMPILED else f"._py{home}", __name__)
    value = globals()[name] = getattr(module, name)
    return value
