"""Fixtures for tests against a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..process.conftest import service  # noqa: F401  # the fixture
from .live import Live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from longline import Worker


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request: pytest.FixtureRequest) -> str:
    """The loops that every test of this package runs on."""
    kind: str = request.param
    if kind == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    return kind


@pytest.fixture
def serve(loop_kind: str) -> Iterator[Callable[[Worker], Live]]:
    """A factory of running servers, each stopped at the end of the test."""
    servers: list[Live] = []

    def start(worker: Worker) -> Live:
        servers.append(Live(worker, loop_kind))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
