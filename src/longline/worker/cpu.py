"""How many processors this process may really use, for `count="auto"`."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_cpus"]


def available_cpus(cgroup: str = "/sys/fs/cgroup") -> int:
    """Return the processors that affinity and cgroup quota leave us, at least 1.

    Args:
        cgroup: Where the control group's files are. Both versions are understood: `cpu.max`
            (cgroup v2), `cpu/cpu.cfs_quota_us` and `cpu.cfs_period_us` (v1). A container
            sees its own group there.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(Path(cgroup))
    # A quota of 1.5 processors keeps two processes busy half of the time: round up.
    return max(1, cpus if quota is None else min(cpus, int(quota + 0.999)))


def _quota(root: Path) -> float | None:
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        processors = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return processors if processors > 0 else None
