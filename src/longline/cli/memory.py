"""The memory of each process, which the asking side measures: the master needs no psutil."""

from __future__ import annotations

from typing import Any

__all__ = ["add_memory"]


def add_memory(status: dict[str, Any]) -> None:
    """Add `memory` in bytes to each process of a status, and to its total."""
    known = 0
    for process in status["processes"]:
        process["memory"] = _memory(process["pid"])
        known += process["memory"] or 0
    status["total"]["memory"] = known


def _memory(pid: int | None) -> int | None:
    """Return what only this process uses (USS), or what it has resident; None when gone."""
    import psutil

    try:
        process = psutil.Process(pid) if pid else None
    except psutil.Error:
        return None
    if process is None:
        return None
    try:
        # Forked workers share most pages: only the unique ones add up.
        return int(process.memory_full_info().uss)
    except (psutil.Error, AttributeError, OSError):
        pass
    try:
        return int(process.memory_info().rss)
    except (psutil.Error, OSError):
        return None
