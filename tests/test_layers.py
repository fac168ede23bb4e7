"""Imports only go down: the rule that keeps every layer readable on its own.

A new module of the package gets its row in `LAYERS` in the commit that adds it. A needed upward
import means that a `Protocol` is missing in the lower layer, not that the rule is wrong.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "longline"

LAYERS = {
    "_types": 0,
    "exitcode": 0,
    "_version": 0,
    "address": 0,
    "errors": 0,
    "limits": 0,
    "listening": 0,
    "osproc": 0,
    "_core": 1,
    "protocols": 2,
    "loop": 3,
    "timer": 3,
    "application": 4,
    "connection": 4,
    "clients": 5,
    "supervisor": 5,
    "web": 5,
    "worker": 5,
    "cluster": 6,
    "data": 6,
    "hosting": 6,
    "compat": 7,
    "gateway": 7,
    "schedule": 7,
    "socketio": 7,
    "testing": 7,
    "watch": 7,
    "__main__": 8,
    "cli": 8,
    "launch": 8,
}

# Between modules of one layer: only these, besides the whole of the lowest and the highest.
BESIDE = {("timer", "loop")}
LOWEST, HIGHEST = 0, 8

# Further refusals: module, what it must not import of the package, though it is lower.
APART = {
    "cluster": {"supervisor"},
    "supervisor": {name for name, layer in LAYERS.items() if layer > 0} - {"supervisor"},
    "worker": {"supervisor"},
}

SANS_IO = {"asyncio", "logging", "os", "select", "selectors", "signal", "socket", "ssl",
           "subprocess", "threading", "time", "uvloop"}  # fmt: skip
FOREIGN = {
    "protocols": SANS_IO,
    "supervisor": {"asyncio", "uvloop"},
    **{name: {"asyncio", "uvloop"} for name, layer in LAYERS.items() if layer == 0},
}


@dataclass(frozen=True)
class Import:
    """One import statement, as absolute dotted names."""

    line: int
    target: str


def module_name(path: Path) -> list[str]:
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(path: Path, text: str) -> Iterator[Import]:
    """Yield what a file imports, also in functions and under TYPE_CHECKING."""
    package = list(path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                yield Import(node.lineno, ".".join([*module, alias.name]))


def refusal(importer: str, target: str) -> str | None:
    """Say why the module `importer` of the package may not import `target`, if so."""
    root, _, rest = target.partition(".")
    if root != "longline":
        return f"{importer} never imports {root}" if root in FOREIGN.get(importer, ()) else None
    imported = rest.partition(".")[0]
    if imported not in LAYERS:
        return f"{target} is no module with a layer; import names from their home"
    if imported == importer:
        return None
    if importer == "protocols" and imported == "_core" and ("tream" in rest):
        return "protocols never see the stream, which belongs to connections"
    if imported in APART.get(importer, ()):
        return f"{importer} and {imported} know nothing of each other"
    mine, theirs = LAYERS[importer], LAYERS[imported]
    if theirs < mine or mine == theirs in (LOWEST, HIGHEST) or (importer, imported) in BESIDE:
        return None
    return f"{importer} (layer {mine}) imports {imported} (layer {theirs})"


def violations(path: Path, text: str) -> list[str]:
    parts = module_name(path)
    where = path.relative_to(SOURCE)
    if len(parts) == 1:
        return [f"{where}:{line}: {why}" for line, why in eager_imports(text)]
    importer = parts[1]
    if importer not in LAYERS:
        return [f"{where}: {importer} has no layer; give it a row in LAYERS"]
    found = ((seen.line, refusal(importer, seen.target)) for seen in imports_of(path, text))
    return [f"{where}:{line}: {why}" for line, why in found if why]


def eager_imports(text: str) -> Iterator[tuple[int, str]]:
    """Yield what `longline/__init__.py` imports of the package when it is itself imported."""
    for node in ast.parse(text).body:
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        if relative and ast.unparse(node) != "from ._version import VERSION as __version__":
            yield node.lineno, "the names of the package are loaded when they are first used"


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_imports_only_go_down(path: Path) -> None:
    assert violations(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("connection/tcp.py", "from ..worker import Worker"),
        ("connection/tcp.py", "from ..worker.runtime import Runtime"),
        ("connection/tcp.py", "def late():\n    from longline.worker import Worker"),
        ("connection/tcp.py", "if TYPE_CHECKING:\n    from ..worker import Worker"),
        ("connection/tcp.py", "import longline.worker.worker"),
        ("connection/tcp.py", "from .. import worker"),
        ("connection/tcp.py", "from longline import Worker"),
        ("connection/tcp.py", "import longline"),
        ("limits.py", "from ._core import LineReader"),
        ("limits.py", "import asyncio"),
        ("protocols/http/head.py", "import asyncio"),
        ("protocols/http/head.py", "import os.path"),
        ("protocols/http/head.py", "from time import monotonic"),
        ("protocols/http/head.py", "if TYPE_CHECKING:\n    from ssl import SSLObject"),
        ("protocols/http/head.py", "from ..._core import Stream"),
        ("protocols/http/head.py", "from ..._core._pystream import Stream"),
        ("protocols/http/head.py", "from ...loop import new_loop"),
        ("loop.py", "from .timer import Timer"),
        ("supervisor/child.py", "import asyncio.subprocess"),
        ("supervisor/child.py", "import uvloop"),
        ("supervisor/child.py", "from .._core import COMPILED"),
        ("supervisor/child.py", "from ..loop import new_loop"),
        ("supervisor/child.py", "from ..worker import Worker"),
        ("supervisor/__init__.py", "from ..worker import Worker"),
        ("worker/worker.py", "from ..supervisor import Supervisor"),
        ("worker/worker.py", "from ..clients import TcpClient"),
        ("cluster/hub.py", "from ..supervisor.log import Log"),
        ("novelty.py", ""),
        ("novelty/thing.py", ""),
        ("__init__.py", "from .worker import Worker"),
    ],
)
def test_a_violation_is_found(file: str, text: str) -> None:
    assert len(violations(PACKAGE / file, text)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("limits.py", "from .errors import ConfigurationError"),
        ("timer.py", "from .loop import new_loop"),
        ("protocols/text.py", "from .._core import LineReader\nfrom .codec import Codec"),
        ("protocols/http/head.py", "from ..codec import Codec\nfrom ...limits import Limits"),
        ("connection/tcp.py", "import asyncio\nfrom .._core import Stream"),
        ("supervisor/child.py", "import os\nfrom ..errors import StartError\nfrom . import log"),
        ("worker/worker.py", "from ..timer import Timer\nfrom .listener import Listener"),
        ("cli/start.py", "from ..supervisor import Supervisor\nfrom ..worker import Worker"),
        ("__init__.py", "if TYPE_CHECKING:\n    from .worker import Worker"),
        ("__init__.py", "from ._version import VERSION as __version__"),
    ],
)
def test_what_goes_down_is_allowed(file: str, text: str) -> None:
    assert violations(PACKAGE / file, text) == []


def loaded_after(statement: str) -> set[str]:
    """Return the modules of a fresh interpreter after `statement`."""
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{statement}\nprint(*sys.modules)"
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["longline", "longline.supervisor.supervisor", "longline.protocols"]
)
def test_no_event_loop_is_loaded_by(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert module in loaded
    assert not loaded & {"asyncio", "uvloop"}


def test_the_protocols_are_loaded_without_the_connection_path() -> None:
    loaded = loaded_after("import longline.protocols")
    assert not {name for name in loaded if name.startswith("longline._core._") and "stream" in name}
