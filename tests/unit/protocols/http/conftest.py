"""A driver that feeds a server codec in pieces, and the vectors of tests/corpus/http."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from longline.errors import RemoteProtocolError
from longline.limits import Limits
from longline.protocols.http import HttpServer, Request

from ....corpus import http_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for kind in ("valid", "invalid"):
        name = f"{kind}_vector"
        if name in metafunc.fixturenames:
            vectors = http_vectors(kind)
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
