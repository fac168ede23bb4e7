"""Fixtures for tests with real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """A factory of services, each stopped at the end of the test."""
    made: list[Service] = []

    def make(source: str, **env: str) -> Service:
        directory = tmp_path / f"service{len(made)}"
        directory.mkdir()
        made.append(Service(directory, source, **env))
        return made[-1]

    yield make
    for service in made:
        service.stop()
