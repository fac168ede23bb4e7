"""What `longline status` shows, from live data; its keys are stable (docs/commands.md).

Memory is left to the asking side: it can look at any process itself, and the master needs no
library for that.
"""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Any

from .._version import VERSION
from ..listening import queue_state
from .child import STATS, State
from .privilege import user_name

if TYPE_CHECKING:
    from .child import Child
    from .group import Group
    from .supervisor import Supervisor

__all__ = ["service_state", "status_report"]

COUNTERS = ("connections", "send_failures", "timers", "messages", "rate")


def status_report(master: Supervisor) -> dict[str, Any]:
    """Return the whole state of a service as JSON data."""
    processes = [_process(child) for child in _ordered(master.children)]
    return {
        "service": _service(master),
        "workers": [_worker(group) for group in master.groups.values()],
        "processes": processes,
        "total": {key: _sum(processes, key) for key in COUNTERS},
    }


def _service(master: Supervisor) -> dict[str, Any]:
    settings = master.settings
    generation = master.accepted
    manifest = generation.manifest if generation is not None else None
    return {
        "name": manifest.application if manifest is not None else "longline",
        "script": settings.script,
        "pid": os.getpid(),
        "version": VERSION,
        "python": platform.python_version(),
        "core": manifest.core if manifest is not None else "python",
        "started_at": master.started_at,
        "uptime": round(time.time() - master.started_at, 3),
        "mode": "daemon" if settings.daemon else "foreground",
        "state": service_state(master),
        "generation": generation.number if generation is not None else 0,
        "reloads": master.reloads,
        "load": list(os.getloadavg()),
        "user": settings.user or user_name(os.geteuid()),
        "run_dir": str(master.rundir.path),
        "log_file": settings.log_file,
        "log_lost": master.journal.writer.lost,
    }


def service_state(master: Supervisor) -> str:
    """Return what the service is doing, in one word."""
    if master.shutdown is not None:
        return "stopping"
    if master.rollout is not None:
        return "starting" if master.rollout.is_start else "reloading"
    return "running"


def _worker(group: Group) -> dict[str, Any]:
    spec = group.spec
    queues = [queue_state(slot.sock) for slot in group.sockets() if slot.sock is not None]
    ready = sum(1 for slot in group.slots if slot.current and slot.current.state is State.READY)
    state = "ok" if ready == len(group.slots) else "starting"
    if group.backoff.looping:
        state = "crash-loop"
    return {
        "name": spec.name,
        "listen": group.listen,
        "count": spec.count,
        "ready": ready,
        "user": spec.user or "",
        "loop": spec.loop,
        "reloadable": spec.reloadable,
        "state": state,
        "exits": dict(group.exits),
        "queued": sum(waiting for waiting, _ in queues),
        "backlog_overflows": sum(dropped for _, dropped in queues),
    }


def _ordered(children: list[Child]) -> list[Child]:
    return sorted(
        children,
        key=lambda c: (c.group.name, c.state is State.DRAINING, c.slot.id, c.pid or 0),
    )


def _process(child: Child) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pid": child.pid,
        "worker": child.group.name,
        "slot": child.slot.id,
        "generation": child.generation.number,
        "state": str(child.state),
        "listen": child.group.listen,
        "uptime": round(time.monotonic() - child.started_at, 3),
        "reasons": child.beat.get("reasons", {}),
    }
    for key in STATS:
        row[key] = child.beat.get(key, 0)
    return row


def _sum(processes: list[dict[str, Any]], key: str) -> float:
    values = (row[key] for row in processes)
    return round(sum(value for value in values if isinstance(value, int | float)), 1)
