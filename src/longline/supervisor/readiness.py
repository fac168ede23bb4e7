"""Telling whoever started the service how the start went, once.

A daemon reports one line of JSON through the pipe that the command line waits on; a service
in the foreground shows its banner, or one line on standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from .log import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import Settings

__all__ = ["Readiness", "banner", "print_banner"]

WRITE_TIMEOUT = 1.0
"""Seconds that a command which does not read may hold the master up."""
_MAX_TRACE = 30_000
_BOLD, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_HEADINGS = ("worker", "listen", "count", "user", "loop", "state")


class Readiness:
    """The outcome of one start, reported where `settings` says; a second report is dropped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        if settings.ready_fd >= 0:
            # It came through exec; a template must not hold the pipe open after us.
            os.set_inheritable(settings.ready_fd, False)

    def succeeded(self, status: dict[str, Any]) -> None:
        """Report that every worker is ready.

        Args:
            status: The status of the service, as the control command gives it.
        """
        if self._settings.daemon:
            shown = {key: status[key] for key in ("service", "workers") if key in status}
            self._report({"ok": True, "status": shown})
        elif not self._settings.quiet:
            # Standard output may be gone; that is no reason not to serve.
            with contextlib.suppress(OSError, ValueError):
                print_banner(status, sys.stdout)

    def failed(self, reason: str, trace: str = "") -> None:
        """Report that the service did not start.

        Args:
            reason: The one line for the user.
            trace: The traceback of the application's own error. In the foreground the log
                has already shown it on the terminal.
        """
        if self._settings.daemon:
            self._report({"ok": False, "error": reason, "traceback": trace[-_MAX_TRACE:]})
            return
        with contextlib.suppress(OSError, ValueError):
            line = escape(" ".join(reason.splitlines()))
            print(f"longline: error: {line}", file=sys.stderr, flush=True)

    def _report(self, outcome: dict[str, Any]) -> None:
        fd, self._settings.ready_fd = self._settings.ready_fd, -1
        if fd < 0:
            return
        data = json.dumps(outcome, separators=(",", ":")).encode() + b"\n"
        # Whoever started us may be gone, or stopped: then nobody waits for the line.
        with contextlib.suppress(OSError):
            _write_within(fd, data, WRITE_TIMEOUT)
        os.close(fd)


def _write_within(fd: int, data: bytes, seconds: float) -> None:
    os.set_blocking(fd, False)
    deadline = time.monotonic() + seconds
    while data:
        _, writable, _ = select.select([], [fd], [], max(0.0, deadline - time.monotonic()))
        if not writable:
            return
        data = data[os.write(fd, data) :]


def print_banner(status: dict[str, Any], stream: TextIO) -> None:
    """Print the banner, coloured when the stream is a terminal and NO_COLOR is not set."""
    terminal = stream.isatty()
    width = shutil.get_terminal_size().columns if terminal else 80
    colour = terminal and not os.environ.get("NO_COLOR")
    print(banner(status, width=width, colour=colour), file=stream, flush=True)


def banner(status: dict[str, Any], *, width: int = 80, colour: bool = False) -> str:
    """Return what a user sees when the service is up: versions, Workers, how to stop.

    Args:
        status: The status of the service, as the control command gives it.
        width: Columns of the terminal; long names are never cut, rules are.
        colour: Whether escape sequences may be used.
    """
    service = status["service"]
    rows = [_row(worker, service["user"]) for worker in status["workers"]]
    gap = 4 if _table_width(rows, 4) <= width else 2
    table = _layout([_HEADINGS, *rows], gap)
    versions = _versions(service, rows)
    wide = min(width, max(60, len(versions), *map(len, table)))
    heading, *lines = table
    if colour:
        heading = f"{_BOLD}{heading}{_PLAIN}"
        lines = [_paint(line, row[-1]) for line, row in zip(lines, rows, strict=True)]
    return "\n".join(
        [
            " LONGLINE ".center(wide, "-"),
            versions,
            " WORKERS ".center(wide, "-"),
            heading,
            *lines,
            "-" * wide,
            *_last_lines(service),
        ]
    )


def _versions(service: dict[str, Any], rows: Sequence[Sequence[str]]) -> str:
    loops = ", ".join(sorted({row[4] for row in rows} - {"-"}))
    parts = [
        f"longline/{service['version']}",
        f"Python/{service['python']}",
        f"{platform.system()}/{platform.release().partition('-')[0]}",
        f"loop {loops}" if loops else "",
        f"core {service['core']}",
    ]
    return "   ".join(escape(part) for part in parts if part)


def _last_lines(service: dict[str, Any]) -> list[str]:
    if service["mode"] != "daemon":
        return ["Ctrl+C stops the service."]
    script = escape(shlex.quote(service["script"]))
    lines = [f"Stop the service with: longline stop {script}"]
    if service.get("log_file"):
        lines.insert(0, f"Its log is {escape(service['log_file'])}")
    return lines


def _row(worker: dict[str, Any], user: str) -> tuple[str, ...]:
    listen = worker.get("listen") or "none"
    values = (
        # An address that also serves as the name is shown once.
        "-" if worker["name"] == listen else worker["name"],
        listen,
        worker["count"],
        worker.get("user") or user,
        worker.get("loop") or "-",
        worker["state"],
    )
    return tuple(escape(str(value)) for value in values)


def _table_width(rows: Sequence[Sequence[str]], gap: int) -> int:
    return max(map(len, _layout([_HEADINGS, *rows], gap)))


def _layout(rows: Sequence[Sequence[str]], gap: int) -> list[str]:
    widths = [max(map(len, column)) + gap for column in zip(*rows, strict=True)]
    padded = ("".join(map(str.ljust, row, widths)) for row in rows)
    return [line.rstrip() for line in padded]


def _paint(line: str, state: str) -> str:
    colour = _GREEN if state == "ok" else _YELLOW
    return f"{line.removesuffix(state)}{colour}{state}{_PLAIN}"
