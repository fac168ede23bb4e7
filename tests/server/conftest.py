"""Fixtures for tests against a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..process.service import Service
from .live import Live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """A factory of real services, each stopped at the end of the test."""
    made: list[Service] = []

    def make(source: str, **env: str) -> Service:
        directory = tmp_path / f"service{len(made)}"
        directory.mkdir()
        made.append(Service(directory, source, **env))
        return made[-1]

    yield make
    for running in made:
        running.stop()
