"""Scans of the source for what must not be in it. Each has the id of its requirement."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Scan: TypeAlias = "Callable[[Source], Iterator[int]]"

PACKAGE = Path(__file__).parent.parent / "src" / "longline"
FILES = sorted(PACKAGE.rglob("*.py"))
PROTOCOL_FILES = sorted([*(PACKAGE / "protocols").rglob("*.py"), *(PACKAGE / "_core").glob("*.py")])

LONGEST_FILE = 500
LONGEST_FUNCTION = 80

UNPICKLERS = {"_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal",
              "multiprocessing", "pickle", "shelve"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One file: its text, lines and tree."""

    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def nodes(self) -> Iterator[ast.AST]:
        yield from ast.walk(ast.parse(self.text))

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield each call with the dotted name of what is called."""
        for node in self.nodes():
            if isinstance(node, ast.Call):
                yield node, ast.unparse(node.func)


def unpicklers(source: Source) -> Iterator[int]:
    for node in source.nodes():
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if node.level == 0 else []
        else:
            continue
        if UNPICKLERS & {name.partition(".")[0] for name in names}:
            yield node.lineno


def evaluations(source: Source) -> Iterator[int]:
    for node, name in source.calls():
        if name in ("eval", "yaml.load"):
            yield node.lineno


def assertions(source: Source) -> Iterator[int]:
    for node in source.nodes():
        if isinstance(node, ast.Assert):
            yield node.lineno


def silent_handlers(source: Source) -> Iterator[int]:
    """Yield bare excepts, and broad ones that do nothing."""
    broad = {"Exception", "BaseException"}
    for node in source.nodes():
        if isinstance(node, ast.ExceptHandler):
            names = {part.strip() for part in ast.unparse(node.type or ast.Tuple([])).split(",")}
            idle = all(isinstance(line, (ast.Pass, ast.Continue)) for line in node.body)
            if node.type is None or (idle and names & broad):
                yield node.lineno
    for node, name in source.calls():
        if name.endswith("suppress") and broad & {ast.unparse(value) for value in node.args}:
            yield node.lineno


def unicode_tests(source: Source) -> Iterator[int]:
    r"""Yield digit tests that know more digits than ASCII, and `\d` in patterns of str."""
    for node, name in source.calls():
        method = name.rpartition(".")[2]
        # bytes.isdigit knows ASCII alone; a comment has to say that these are bytes.
        said = "bytes" in source.lines[node.lineno - 1].partition("#")[2]
        if method in ("isnumeric", "isdecimal") or (method == "isdigit" and not said):
            yield node.lineno
        first = node.args[0] if node.args else None
        pattern = first.value if isinstance(first, ast.Constant) else None
        if name.startswith("re.") and isinstance(pattern, str) and re.search(r"\\[dws]", pattern):
            yield node.lineno


def unexplained_patterns(source: Source) -> Iterator[int]:
    """Yield regular expressions without a comment that says why they are linear.

    It stands on the same line, or above, in the block of lines that the expression is in.
    """
    for node, name in source.calls():
        if name in ("re.match", "re.fullmatch", "re.search", "re.sub", "re.split", "re.findall",
                    "re.finditer"):  # fmt: skip
            yield node.lineno
        if name == "re.compile" and not explained(source.lines, node.lineno - 1):
            yield node.lineno


def explained(lines: list[str], index: int) -> bool:
    while index >= 0 and lines[index].strip():
        if "linear" in lines[index].partition("#")[2].lower():
            return True
        index -= 1
    return False


def long_functions(source: Source) -> Iterator[int]:
    for node in source.nodes():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            if (node.end_lineno or 0) - first.lineno >= LONGEST_FUNCTION:
                yield node.lineno


def long_files(source: Source) -> Iterator[int]:
    if len(source.lines) > LONGEST_FILE:
        yield len(source.lines)


def late_annotations(source: Source) -> Iterator[int]:
    if source.text.strip() and "from __future__ import annotations" not in source.lines:
        code = [node for node in ast.parse(source.text).body if not isinstance(node, ast.Expr)]
        if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in code):
            yield 1


def left_over(source: Source) -> Iterator[int]:
    for number, line in enumerate(source.lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield number


SCANS = {
    "N-1 nothing that unpickles": unpicklers,
    "N-1 nothing that evaluates": evaluations,
    "H-21 no assert": assertions,
    "no error is swallowed": silent_handlers,
    "B-9 each pattern is linear and says why": unexplained_patterns,
    "no function over 80 lines": long_functions,
    "no file over 500 lines": long_files,
    "annotations are never evaluated": late_annotations,
    "nothing is left for later": left_over,
}


def flaws(files: list[Path], scan: Scan) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE.parent)}:{line}"
        for path in files
        for line in scan(Source(path.read_text()))
    ]


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
def test_no_source_breaks(scan: Scan) -> None:
    assert flaws(FILES, scan) == []


def test_protocol_text_is_judged_by_ascii_rules_H_20() -> None:
    assert flaws(PROTOCOL_FILES, unicode_tests) == []


BAD: list[tuple[Scan, str]] = [
    (unpicklers, "import pickle"),
    (unpicklers, "import multiprocessing.connection as c"),
    (unpicklers, "from multiprocessing import Queue"),
    (unpicklers, "def f():\n    from marshal import loads"),
    (evaluations, "eval(text)"),
    (evaluations, "yaml.load(text)"),
    (assertions, "assert x"),
    (silent_handlers, "try:\n    f()\nexcept:\n    log()"),
    (silent_handlers, "try:\n    f()\nexcept Exception:\n    pass"),
    (silent_handlers, "try:\n    f()\nexcept BaseException:\n    pass"),
    (silent_handlers, "with contextlib.suppress(Exception):\n    f()"),
    (
        silent_handlers,
        "for x in y:\n    try:\n        f()\n    except Exception:\n        continue",
    ),
    (unicode_tests, "text.isdigit()"),
    (unicode_tests, "text.isnumeric()"),
    (unicode_tests, "text.isdecimal()"),
    (unicode_tests, r're.compile(r"\d+")'),
    (unexplained_patterns, 'P = re.compile("a+")'),
    (unexplained_patterns, '# linear\n\nP = re.compile("a+")'),
    (unexplained_patterns, 're.search("a+", text)'),
    (long_functions, "def f():\n" + "    x()\n" * 81),
    (long_files, "x()\n" * 501),
    (late_annotations, "def f() -> int: ..."),
    (left_over, "# TODO: more"),
]
GOOD: list[tuple[Scan, str]] = [
    (unpicklers, "import json\nfrom .pickle import thing"),
    (silent_handlers, "try:\n    f()\nexcept OSError:\n    pass"),
    (silent_handlers, "try:\n    f()\nexcept Exception as e:\n    log(e)"),
    (unicode_tests, "data.isdigit()  # bytes: ASCII alone"),
    (unicode_tests, r're.compile(rb"\d+")'),
    (unexplained_patterns, 'P = re.compile("a+")  # linear: one run'),
    (unexplained_patterns, '# Linear: one run each.\nP = re.compile("a+")\nQ = re.compile("b+")'),
    (long_functions, 'def f():\n    """D."""\n' + "    x()\n" * 80),
    (long_files, "x()\n" * 500),
    (late_annotations, "from __future__ import annotations\ndef f() -> int: ..."),
    (late_annotations, '"""Only text."""\nfrom .cli import main'),
]


@pytest.mark.parametrize(("scan", "text"), BAD)
def test_a_scan_finds_what_it_looks_for(scan: Scan, text: str) -> None:
    assert len(list(scan(Source(text)))) == 1


@pytest.mark.parametrize(("scan", "text"), GOOD)
def test_a_scan_leaves_the_rest_alone(scan: Scan, text: str) -> None:
    assert list(scan(Source(text))) == []
