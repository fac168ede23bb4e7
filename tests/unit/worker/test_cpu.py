"""count="auto": what affinity and the control group leave us."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from longline.worker.cpu import available_cpus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1),
     ("9900000 100000", 8), ("0 100000", 8), ("100000 0", 8), ("nonsense", 8), ("", 8)],
)  # fmt: skip
def test_the_quota_of_version_2(tmp_path: Path, text: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert available_cpus(str(tmp_path)) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 8), ("250000", 3), ("x", 8)])
def test_the_quota_of_version_1(tmp_path: Path, quota: str, cpus: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(str(tmp_path)) == cpus


def test_without_a_control_group_affinity_decides(tmp_path: Path) -> None:
    assert available_cpus(str(tmp_path)) == 8
