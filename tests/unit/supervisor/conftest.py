"""A master with a played family, which must leave no descriptor behind."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from .master_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def open_descriptors() -> dict[str, str]:
    gc.collect()
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    before = open_descriptors()
    lab = Lab(monkeypatch, tmp_path)
    try:
        yield lab
    finally:
        lab.close()
    left = {fd: what for fd, what in open_descriptors().items() if before.get(fd) != what}
    assert left == {}
