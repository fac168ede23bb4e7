from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest

from longline.supervisor.readiness import Readiness, banner, print_banner
from longline.supervisor.settings import Settings


def _status(*workers: dict[str, Any], **service: Any) -> dict[str, Any]:
    facts = {
        "name": "chat",
        "script": "/srv/chat.py",
        "pid": 10,
        "version": "0.1.0",
        "python": "3.11.7",
        "core": "compiled",
        "mode": "foreground",
        "user": "alice",
        "log_file": None,
    }
    return {"service": facts | service, "workers": list(workers), "processes": [{"pid": 11}]}


def _worker(**facts: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "listen": "http://127.0.0.1:80",
        "count": 4,
        "user": "",
        "loop": "uvloop",
        "state": "ok",
    } | facts


def test_a_daemon_reports_one_line_and_lets_go_of_the_pipe() -> None:
    """P-2."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    readiness = Readiness(Settings("/srv/chat.py", daemon=True, ready_fd=write))
    assert not os.get_inheritable(write)
    readiness.succeeded(_status(_worker()))
    readiness.failed("too late")
    with open(read, "rb") as pipe:
        line, end = pipe.read().split(b"\n")
    outcome = json.loads(line)
    assert end == b""
    assert outcome["ok"] is True
    assert outcome["status"]["workers"][0]["name"] == "web"
    assert "processes" not in outcome["status"]


def test_a_daemon_reports_the_reason_and_the_traceback_of_a_failure() -> None:
    """P-2."""
    read, write = os.pipe()
    Readiness(Settings("/srv/chat.py", daemon=True, ready_fd=write)).failed("why", "trace")
    with open(read, "rb") as pipe:
        assert json.loads(pipe.read()) == {"ok": False, "error": "why", "traceback": "trace"}


def test_a_reader_that_has_gone_does_not_matter() -> None:
    read, write = os.pipe()
    os.close(read)
    Readiness(Settings("/srv/chat.py", daemon=True, ready_fd=write)).failed("why", "x" * 100_000)


def test_the_foreground_prints_the_banner(capsys: pytest.CaptureFixture[str]) -> None:
    Readiness(Settings("/srv/chat.py")).succeeded(_status(_worker()))
    assert "LONGLINE" in capsys.readouterr().out


def test_quiet_prints_no_banner(capsys: pytest.CaptureFixture[str]) -> None:
    Readiness(Settings("/srv/chat.py", quiet=True)).succeeded(_status(_worker()))
    assert capsys.readouterr().out == ""


def test_a_failure_in_the_foreground_is_one_escaped_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Q-5."""
    Readiness(Settings("/srv/chat.py")).failed("port\n\x1b[2Jin use")
    assert capsys.readouterr().err == "longline: error: port \\x1b[2Jin use\n"


def test_the_banner_names_versions_workers_and_how_to_stop() -> None:
    quiet = _worker(name="jobs", listen=None, user="www", count=1, state="starting")
    lines = banner(_status(_worker(), quiet)).splitlines()
    assert lines[1].startswith("longline/0.1.0   Python/3.11.7")
    assert lines[1].endswith("loop uvloop   core compiled")
    rows = [line.split() for line in lines[4:6]]
    assert rows == [
        ["web", "http://127.0.0.1:80", "4", "alice", "uvloop", "ok"],
        ["jobs", "none", "1", "www", "uvloop", "starting"],
    ]
    assert "Ctrl+C" in lines[-1]
    assert max(map(len, lines)) <= 80


def test_the_banner_of_a_daemon_says_how_to_stop_it_and_where_its_log_is() -> None:
    lines = banner(_status(_worker(), mode="daemon", log_file="/srv/chat.log")).splitlines()
    assert "/srv/chat.log" in lines[-2]
    assert lines[-1].endswith("longline stop /srv/chat.py")


def test_the_command_in_the_banner_can_be_pasted_into_a_shell() -> None:
    status = _status(_worker(), mode="daemon")
    status["service"]["script"] = "/srv/my chat;x.py"
    assert banner(status).endswith("longline stop '/srv/my chat;x.py'")


def test_an_address_that_is_the_name_is_shown_once() -> None:
    address = "http://127.0.0.1:80"
    assert banner(_status(_worker(name=address, listen=address))).count(address) == 1


def test_a_long_name_is_never_cut() -> None:
    name = "n" * 100
    shown = banner(_status(_worker(name=name)), width=80)
    assert name in shown
    assert shown.splitlines()[-2] == "-" * 80


def test_the_banner_escapes_what_an_application_named_itself() -> None:
    """Q-5."""
    shown = banner(_status(_worker(name="a\x1b[31m\nb", user="\x9b2J")))
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "a\\x1b[31m\\nb" in shown


def test_colour_marks_states_only_when_asked_for() -> None:
    status = _status(_worker(state="crash-loop"))
    assert "\x1b[33mcrash-loop\x1b[0m" in banner(status, colour=True)
    assert "\x1b" not in banner(status)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)])
def test_a_terminal_is_coloured_unless_no_color_is_set(
    monkeypatch: pytest.MonkeyPatch, value: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    terminal = _Terminal()
    print_banner(_status(_worker()), terminal)
    assert ("\x1b" in terminal.getvalue()) is coloured
