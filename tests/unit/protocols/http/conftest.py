"""Vectors of tests/corpus/http, and a driver that feeds a server codec in pieces.

A vector is two files of one name. `NAME.http` holds the bytes: line ends of the file are
not part of them, and a backslash escapes (`\\r \\n \\t \\\\ \\xNN`). `NAME.py` says what they are:
its docstring what is tried (with the row of the hardening list), `limits` the limits that
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
from typing import TYPE_CHECKING, Any

import pytest

from longline.errors import RemoteProtocolError
from longline.limits import Limits
from longline.protocols.http import HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CORPUS = Path(__file__).parents[3] / "corpus" / "http"

_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


def unescape(text: bytes) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes.fromhex(code[1:].decode()) if code[:1] == b"x" else _ESCAPES[code]

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", replace, text.replace(b"\n", b""))


@dataclass
class Vector:
    name: str
    data: bytes
    limits: dict[str, Any] = field(default_factory=dict)
    requests: Any = 0
    status: int = 0
    eof: bool = False


def load(kind: str) -> Iterator[Vector]:
    for path in sorted((CORPUS / kind).glob("*.http")):
        values = runpy.run_path(str(path.with_suffix(".py")))
        keys = ("limits", "requests", "status", "eof")
        known = {key: values[key] for key in keys if key in values}
        yield Vector(path.stem, unescape(path.read_bytes()), **known)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for kind in ("valid", "invalid"):
        name = f"{kind}_vector"
        if name in metafunc.fixturenames:
            vectors = list(load(kind))
            metafunc.parametrize(name, vectors, ids=[vector.name for vector in vectors])


@dataclass
class Outcome:
    """What came of one conversation."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    status: int = 0


def describe(request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers.raw],
        "body": request.body,
        "trailers": [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.trailers.raw],
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query_string,
        "host": request.host,
        "upgrade": request.upgrade,
        "keep_alive": request.keep_alive,
    }


def serve(
    pieces: Iterable[bytes],
    *,
    limits: dict[str, Any] | None = None,
    eof: bool = False,
    answer: Callable[[HttpServer, Request], object] | None = None,
) -> Outcome:
    """Feed the pieces to a new codec, and answer each request as soon as it is there."""
    codec = HttpServer(Limits(**(limits or {})))
    outcome = Outcome()

    def take(requests: list[Request]) -> None:
        while requests:
            assert len(requests) == 1
            outcome.requests.append(describe(requests[0]))
            (answer or (lambda codec, request: codec.encode(b"")))(codec, requests[0])
            requests = codec.feed(b"")

    try:
        for piece in pieces:
            take(codec.feed(piece))
        if eof:
            take(codec.eof())
    except RemoteProtocolError as error:
        outcome.error = f"{type(error).__name__}: {error}"
        outcome.status = error.status
        with pytest.raises(type(error)):
            codec.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    return outcome


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield the input whole, byte by byte, and cut in two at every place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]


@pytest.fixture(name="serve")
def serve_fixture() -> Callable[..., Outcome]:
    return serve


@pytest.fixture(name="splits")
def splits_fixture() -> Callable[[bytes], Iterator[list[bytes]]]:
    return splits


@dataclass
class Answer:
    """A response, read by a reader that is none of ours: split at the first empty line."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@pytest.fixture
def read_answer() -> Callable[[bytes], Answer]:
    def read(data: bytes) -> Answer:
        head, separator, body = data.partition(b"\r\n\r\n")
        assert separator
        line, *fields = head.decode("latin-1").split("\r\n")
        version, status, reason = line.split(" ", 2)
        assert version == "HTTP/1.1"
        return Answer(int(status), reason, [tuple(f.split(": ", 1)) for f in fields], body)

    return read


@pytest.fixture
def codec() -> HttpServer:
    return HttpServer(Limits())


@pytest.fixture
def ask(codec: HttpServer) -> Callable[..., Request]:
    """Bring the codec to the point where one request waits for its answer."""

    def ask(method: str = "GET", *fields: str, version: str = "1.1") -> Request:
        lines = [f"{method} / HTTP/{version}", "Host: a", *fields, "", ""]
        (request,) = codec.feed("\r\n".join(lines).encode("latin-1"))
        assert isinstance(request, Request)
        return request

    return ask
