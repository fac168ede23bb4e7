from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .connection_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["asyncio", "uvloop"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    made = Lab(request.param)
    yield made
    made.finish()
