"""What `status` and `connections` look like.

On a terminal names are folded where the window is narrow; in a pipe the width is 80 columns,
or what the figures need. Nothing is cut but by `--watch` in a small window, and all foreign
text is escaped.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import text
from .text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["connections_view", "console", "print_view", "status_view", "watch_view"]

PIPE_WIDTH = 80
_GAP = 1
_STATE_STYLES = {
    "ok": "green",
    "ready": "green",
    "running": "green",
    "open": "green",
    "busy": "yellow",
    "starting": "yellow",
    "reloading": "yellow",
    "draining": "yellow",
    "stopping": "yellow",
    "stopped": "magenta",
    "crash-loop": "bold red",
    "hung": "bold red",
}


class _Column(NamedTuple):
    """A heading, how its cells stand, and the least width of one that may be folded."""

    heading: str
    right: bool = False
    foldable: int = 0


_WORKERS = (
    _Column("WORKER", foldable=10),
    _Column("LISTEN", foldable=14),
    _Column("COUNT", right=True),
    _Column("READY", right=True),
    _Column("USER"),
    _Column("LOOP"),
    _Column("STATE"),
    _Column("EXITS", foldable=12),
)
_PROCESSES = (
    _Column("PID", right=True),
    _Column("WORKER", foldable=10),
    _Column("GEN", right=True),
    _Column("STATE"),
    _Column("CONN", right=True),
    _Column("FAIL", right=True),
    _Column("TIMER", right=True),
    _Column("MESSAGES", right=True),
    _Column("RATE/s", right=True),
    _Column("LAG", right=True),
    _Column("MEMORY", right=True),
    _Column("UP", right=True),
)
_CONNECTIONS = (
    _Column("PID", right=True),
    _Column("WORKER", foldable=6),
    _Column("ID", right=True),
    _Column("PROTOCOL"),
    _Column("RECV-Q", right=True),
    _Column("SEND-Q", right=True),
    _Column("IN", right=True),
    _Column("OUT", right=True),
    _Column("AGE", right=True),
    _Column("STATE"),
    _Column("REMOTE, LOCAL", foldable=14),
)


def console() -> Console:
    """Return the console of standard output; colours only on a terminal without NO_COLOR."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def print_view(view: Group, out: Console) -> None:
    """Print a view; in a pipe without the blanks that fill lines up."""
    if out.is_terminal:
        out.print(view)
        return
    with out.capture() as captured:
        out.print(view)
    for line in captured.get().splitlines():
        out.file.write(line.rstrip() + "\n")
    out.file.flush()


def status_view(status: dict[str, Any], out: Console) -> Group:
    """Return the whole status, fit for `out`, whose width is raised where it has to be.

    Args:
        status: The status as the control command gives it, with `memory` added.
        out: The console that will print it.
    """
    processes = [_process(row) for row in status["processes"]]
    user = status["service"]["user"]
    workers = _table(_WORKERS, [_worker(row, user) for row in status["workers"]], out)
    table = _table(_PROCESSES, [*processes, _summary(status)], out)
    return Group(*_head(status["service"]), Text(), workers, Text(), table)


def connections_view(
    rows: Sequence[dict[str, Any]], silent: Sequence[dict[str, Any]], out: Console
) -> Group:
    """Return the list of connections, and a line for each worker that did not answer."""
    parts: list[Any] = []
    if rows:
        parts.append(_table(_CONNECTIONS, [_connection(row) for row in rows], out))
    parts.append(Text(f"{len(rows)} connection{'' if len(rows) == 1 else 's'}"))
    for row in silent:
        who = f"{row.get('worker')} (pid {row.get('pid')})"
        line = f"no answer, or not a whole one, from {who}: {row.get('state')}"
        parts.append(Text(visible(line), style="yellow"))
    return Group(*parts)


@contextlib.contextmanager
def watch_view(out: Console) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that shows a status in place of the one before."""
    if not out.is_terminal:
        yield lambda status: print_view(status_view(status, out), out)
        return
    hint = Text("Ctrl+C quits; the service goes on", style="dim")
    with Live(console=out, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        yield lambda status: live.update(Group(status_view(status, out), hint), refresh=True)


def _head(service: dict[str, Any]) -> list[Text]:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(service["started_at"]))
    load = " ".join(f"{value:.2f}" for value in service["load"])
    reloads = service["reloads"]
    lines = [
        f"{service['script']} (pid {service['pid']}, {service['mode']})",
        f"longline {service['version']}, Python {service['python']}, {service['core']} core, "
        f"user {service['user']}",
        f"started {started}, up {text.duration(service['uptime'])}, load {load}",
        f"generation {service['generation']}, {reloads} reload{'' if reloads == 1 else 's'}",
        f"run directory {service['run_dir']}",
    ]
    if service.get("log_file"):
        lines.append(f"log {service['log_file']}")
    if service.get("log_lost"):
        lines.append(f"{service['log_lost']} log records could not be written")
    name = Text(f"{visible(service['name'])} is ")
    name.append_text(_state(service["state"]))
    return [name, *(Text(visible(line), overflow="fold") for line in lines)]


def _worker(row: dict[str, Any], user: str) -> list[Text]:
    exits = ", ".join(f"{how}: {number}" for how, number in sorted(row["exits"].items()))
    state = _state(row["state"])
    if row.get("backlog_overflow"):
        state.append(f" (backlog overflow {text.count(row['backlog_overflow'])})", style="red")
    return [
        # An address that also serves as the name is shown once.
        _cell("-" if row["name"] == row["listen"] else row["name"]),
        _cell(row["listen"] or "none"),
        _cell(row["count"]),
        _cell(row["ready"]),
        _cell(row["user"] or user),
        _cell(row["loop"]),
        state,
        _cell(exits or "-"),
    ]


def _process(row: dict[str, Any]) -> list[Text]:
    return [
        _cell(row["pid"] or "-"),
        _cell(f"{row['worker']} #{row['slot']}"),
        _cell(row["generation"]),
        _state(row["state"]),
        _cell(text.count(row.get("connections"))),
        _cell(text.count(row.get("send_failures"))),
        _cell(text.count(row.get("timers"))),
        _cell(text.count(row.get("messages"))),
        _cell(text.rate(row.get("rate"))),
        _cell(text.lag(row.get("lag"))),
        _cell(text.size(row.get("memory"))),
        _cell(text.duration(row.get("uptime"))),
    ]


def _summary(status: dict[str, Any]) -> list[Text]:
    total = status["total"]
    cells = [
        "",
        f"total of {len(status['processes'])}",
        "",
        "",
        text.count(total.get("connections")),
        text.count(total.get("send_failures")),
        text.count(total.get("timers")),
        text.count(total.get("messages")),
        text.rate(total.get("rate")),
        "",
        text.size(total.get("memory")),
        "",
    ]
    return [Text(cell, style="bold") for cell in cells]


def _connection(row: dict[str, Any]) -> list[Text]:
    transport, protocol = row.get("transport"), row.get("protocol")
    via = protocol if transport in (protocol, "tcp", None) else f"{protocol}/{transport}"
    # Towards us, or away from us: who called whom.
    arrow = "<-" if row.get("direction") == "out" else "->"
    ends = f"{text.address(row.get('remote'))} {arrow} {text.address(row.get('local'))}"
    return [
        _cell(row.get("pid")),
        _cell(row.get("worker")),
        _cell(row.get("id")),
        _cell(via),
        _cell(text.size(row.get("receive_queue"))),
        _cell(text.size(row.get("send_queue"))),
        _cell(text.size(row.get("bytes_received"))),
        _cell(text.size(row.get("bytes_sent"))),
        _cell(text.duration(row.get("age"))),
        _state(row.get("state")),
        Text(ends),
    ]


def _cell(value: Any) -> Text:
    return Text(visible(value))


def _state(value: Any) -> Text:
    return Text(visible(value), style=_STATE_STYLES.get(str(value), ""))


def _table(columns: Sequence[_Column], rows: Sequence[Sequence[Text]], out: Console) -> Table:
    """Lay out a table so that only foldable columns give way, down to their least width."""
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    needed = 0
    for place, column in enumerate(columns):
        widest = max(
            cell_len(value.plain) for value in (Text(column.heading), *(r[place] for r in rows))
        )
        least = min(widest, column.foldable) if column.foldable else widest
        needed += least + _GAP
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=not column.foldable,
            overflow="fold",
            min_width=least,
        )
    for row in rows:
        table.add_row(*row)
    if needed > out.width and not out.is_alt_screen:
        out.width = needed
    return table
