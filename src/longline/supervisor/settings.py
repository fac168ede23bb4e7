"""What the master knows before any application code runs.

The command line and `LONGLINE_*` variables fill it in; the master receives it as JSON, so
that it begins as a fresh interpreter which never imported the command line's libraries.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

__all__ = ["Settings"]


@dataclass(slots=True)
class Settings:
    """How one service runs; every path is absolute."""

    script: str
    argv: list[str] = field(default_factory=list)
    """Arguments for the script, after the command's own."""
    daemon: bool = False
    quiet: bool = False
    user: str | None = None
    group: str | None = None
    log_file: str | None = None
    log_json: bool = False
    log_level: str = "INFO"
    stdout_file: str | None = None
    """Where a daemon's prints go; None sends them to the log."""
    pid_file: str | None = None
    run_dir: str | None = None
    preload: bool = True
    """Whether the template imports the application; else each worker process does."""
    fail_fast: bool = False
    """Whether a crash loop ends the service instead of backing off."""
    ready_timeout: float | None = None
    """Seconds; None leaves it to the application, and to the default."""
    graceful_timeout: float | None = None
    """As `ready_timeout`: None leaves it to the application, and to the default."""
    umask: int = 0o027
    ready_fd: int = -1
    """Where the start's outcome is reported as one JSON line, -1 for nowhere."""

    def to_json(self) -> str:
        """Return the settings as the argument of a fresh master."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return what `to_json` wrote."""
        return cls(**json.loads(text))
