from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from longline.cli import tables

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = "\x1b[2J\x9b1m\r\n\u2028\u202e[red]"


def _process(**facts: Any) -> dict[str, Any]:
    return {
        "pid": 41232,
        "worker": "chat",
        "slot": 0,
        "generation": 2,
        "state": "ready",
        "connections": 12_345,
        "send_failures": 3,
        "timers": 7,
        "messages": 1_234_567,
        "rate": 812.5,
        "lag": 0.002,
        "memory": 45 * 2**20,
        "uptime": 7500.0,
    } | facts


def _worker(**facts: Any) -> dict[str, Any]:
    return {
        "name": "chat",
        "listen": "websocket://0.0.0.0:2346",
        "count": 4,
        "ready": 3,
        "user": "",
        "loop": "uvloop",
        "state": "ok",
        "exits": {"signal 9": 1, "exit 0": 2},
    } | facts


def _status(**facts: Any) -> dict[str, Any]:
    service = {
        "name": "shop",
        "script": "/srv/chat.py",
        "pid": 4711,
        "version": "0.1.0",
        "python": "3.11.7",
        "core": "compiled",
        "started_at": 1_700_000_000.0,
        "uptime": 7500.0,
        "mode": "daemon",
        "state": "running",
        "generation": 2,
        "reloads": 1,
        "load": [0.1, 0.25, 0.3],
        "user": "www",
        "run_dir": "/run/longline/chat-0123456789",
        "log_file": "/srv/chat.log",
        "log_lost": 0,
    }
    total = {
        "connections": 12_345,
        "send_failures": 3,
        "timers": 7,
        "messages": 1_234_567,
        "rate": 812.5,
        "memory": 45 * 2**20,
    }
    return {
        "service": service | facts.pop("service", {}),
        "workers": facts.pop("workers", [_worker()]),
        "processes": facts.pop("processes", [_process()]),
        "total": total,
    }


def _row(**facts: Any) -> dict[str, Any]:
    return {
        "pid": 41232,
        "worker": "chat",
        "id": 17,
        "transport": "tcp",
        "protocol": "websocket",
        "receive_queue": 0,
        "send_queue": 2048,
        "bytes_received": 1536,
        "bytes_sent": 5 * 2**20,
        "state": "open",
        "local": "127.0.0.1:2346",
        "remote": "127.0.0.1:54321",
        "age": 190.0,
        "direction": "in",
    } | facts


def _show(view: Callable[..., Any], *data: Any, width: int = 80, terminal: bool = False) -> str:
    file = io.StringIO()
    out = Console(
        file=file,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )
    tables.print_view(view(*data, out), out)
    return file.getvalue()


def _words(shown: str, start: str) -> list[str]:
    return next(line.split() for line in shown.splitlines() if line.startswith(start))


def test_the_status_fits_80_columns_and_has_every_figure() -> None:
    shown = _show(tables.status_view, _status())
    assert max(map(len, shown.splitlines())) <= 80
    assert _words(shown, "41232") == [
        *("41232", "chat", "#0", "2", "ready", "12.3k", "3", "7", "1.2M", "812", "2ms", "45.0M"),
        "2h5m",
    ]
    assert "total of 1" in shown


def test_the_head_says_who_runs_and_since_when() -> None:
    shown = _show(tables.status_view, _status())
    for part in (
        "shop is running",
        "/srv/chat.py (pid 4711, daemon)",
        "longline 0.1.0, Python 3.11.7, compiled core, user www",
        "up 2h5m, load 0.10 0.25 0.30",
        "generation 2, 1 reload\n",
        "log /srv/chat.log",
    ):
        assert part in shown
    assert "could not be written" not in shown


def test_lost_log_records_are_told() -> None:
    shown = _show(tables.status_view, _status(service={"log_lost": 5}))
    assert "5 log records could not be written" in shown


def test_exits_are_counted_by_how_they_were() -> None:
    shown = _show(tables.status_view, _status(), width=200)
    assert "exit 0: 2, signal 9: 1" in shown


def test_a_worker_without_a_listener_listens_to_none() -> None:
    shown = _show(tables.status_view, _status(workers=[_worker(name="jobs", listen=None)]))
    assert _words(shown, "jobs")[1] == "none"


@pytest.mark.parametrize("state", ["hung", "busy", "stopped", "starting", "draining"])
def test_each_process_shows_its_state(state: str) -> None:
    """Q-12: a hung worker is a row like any other."""
    shown = _show(tables.status_view, _status(processes=[_process(state=state, pid=None)]))
    assert f" {state} " in shown


def test_a_worker_that_said_nothing_yet_has_dashes() -> None:
    row = {"pid": 5, "worker": "w", "slot": 0, "generation": 1, "state": "starting"}
    shown = _show(tables.status_view, _status(processes=[row]))
    assert _words(shown, "  5") == ["5", "w", "#0", "1", "starting", *["-"] * 8]


def test_backlog_overflow_is_told() -> None:
    shown = _show(tables.status_view, _status(workers=[_worker(backlog_overflow=12)]), width=120)
    assert "backlog overflow 12" in shown


def test_long_names_are_folded_not_cut() -> None:
    name = "abcdefghijklmnopqrstuvwxyz" * 2
    shown = _show(tables.status_view, _status(processes=[_process(worker=name)]))
    column = shown.splitlines()[-7:]
    assert name in "".join(line[6:24].strip() for line in column).replace(" ", "")
    assert max(map(len, shown.splitlines())) <= 80


def test_hostile_text_never_reaches_the_terminal() -> None:
    """Q-5."""
    status = _status(
        service={"name": HOSTILE, "script": HOSTILE, "user": HOSTILE, "state": HOSTILE},
        workers=[_worker(name=HOSTILE, user=HOSTILE, state=HOSTILE, exits={HOSTILE: 1})],
        processes=[_process(worker=HOSTILE, state=HOSTILE, messages=HOSTILE, lag=HOSTILE)],
    )
    row = _row(remote=HOSTILE, local=HOSTILE, protocol=HOSTILE, id=HOSTILE, age=HOSTILE)
    silent = {"pid": HOSTILE, "worker": HOSTILE, "state": HOSTILE}
    for shown in (
        _show(tables.status_view, status, width=300),
        _show(tables.connections_view, [row], [silent], width=300),
    ):
        assert shown.replace("\n", "").isprintable()
        assert "\\x1b[2J\\x9b1m\\x0d\\x0a\\u2028\\u202e[red]" in shown


def test_a_pipe_has_no_blanks_at_the_end_of_a_line() -> None:
    shown = _show(tables.status_view, _status())
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_a_worker_without_a_user_of_its_own_has_the_services() -> None:
    status = _status(workers=[_worker(name="one"), _worker(name="two", user="bob")])
    shown = _show(tables.status_view, status, width=120)
    assert [_words(shown, name)[4] for name in ("one", "two")] == ["www", "bob"]


def test_a_pipe_has_no_colours_and_a_terminal_has() -> None:
    status = _status(processes=[_process(state="hung")])
    assert "\x1b" not in _show(tables.status_view, status)
    assert "\x1b[1;31mhung" in _show(tables.status_view, status, terminal=True)


def test_the_connections_fit_80_columns_and_have_every_figure() -> None:
    shown = _show(tables.connections_view, [_row()], [])
    assert max(map(len, shown.splitlines())) <= 80
    words = _words(shown, "41232")
    expected = ["41232", "chat", "17", "websocket", "0B", "2.0K", "1.5K", "5.0M", "3m10s", "open"]
    assert words[:10] == expected
    assert "127.0.0.1:54321" in shown
    assert "127.0.0.1:2346" in shown
    assert shown.endswith("\n1 connection\n")


@pytest.mark.parametrize(("direction", "arrow"), [("in", "->"), ("out", "<-")])
def test_an_arrow_says_who_called_whom(direction: str, arrow: str) -> None:
    shown = _show(tables.connections_view, [_row(direction=direction)], [], width=120)
    assert f"127.0.0.1:54321 {arrow} 127.0.0.1:2346" in shown


def test_a_transport_other_than_tcp_is_named() -> None:
    shown = _show(tables.connections_view, [_row(transport="tls")], [], width=120)
    assert "websocket/tls" in shown


def test_a_row_without_keys_is_still_a_row() -> None:
    assert "None" in _show(tables.connections_view, [{}], [])


def test_workers_that_did_not_answer_are_listed() -> None:
    """Q-12."""
    silent = [{"pid": 7, "worker": "chat", "state": "hung"}]
    shown = _show(tables.connections_view, [], silent)
    assert "0 connections" in shown
    assert "no answer, or not a whole one, from chat (pid 7): hung" in shown


def test_figures_widen_a_pipe_rather_than_being_cut() -> None:
    remote = "[2001:db8:1234:5678:9abc:def0:1234:5678]:54321"
    shown = _show(tables.connections_view, [_row(id=10**40, remote=remote)], [])
    assert str(10**40) in shown


def test_the_console_of_a_pipe_is_80_columns_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert tables.console().width == 80


def test_watching_in_a_pipe_prints_one_status_after_the_other() -> None:
    file = io.StringIO()
    with tables.watch_view(Console(file=file, width=80, _environ={})) as show:
        show(_status())
        show(_status())
    assert file.getvalue().count("shop is running") == 2


def test_watching_on_a_terminal_uses_its_other_screen() -> None:
    file = io.StringIO()
    out = Console(file=file, width=80, height=30, force_terminal=True, _environ={"TERM": "xterm"})
    with tables.watch_view(out) as show:
        show(_status())
    assert "\x1b[?1049h" in file.getvalue()
    assert "Ctrl+C quits" in file.getvalue()
