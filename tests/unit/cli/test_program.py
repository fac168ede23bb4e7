from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import longline.cli
from longline import __version__
from longline.cli import control, memory, program
from longline.cli import start as starting
from longline.errors import ControlError, NotRunningError, StartError
from longline.supervisor.client import Client, ConnectionList

if TYPE_CHECKING:
    from pathlib import Path

    from longline.supervisor.settings import Settings


class FakeClient:
    """A conversation with a master that was never there."""

    def __init__(self, reply: dict[str, Any] | BaseException) -> None:
        self.reply = reply
        self.asked: list[Any] = []

    def __str__(self) -> str:
        return "app.py (pid 10)"

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    def ask(self, command: str, timeout: float | None = 5.0, **arguments: Any) -> dict[str, Any]:
        self.asked.append((command, timeout, arguments))
        if isinstance(self.reply, BaseException):
            raise self.reply
        return self.reply

    def stop(self, *, graceful: bool) -> None:
        self.ask("stop", None, graceful=graceful)

    def connections(self) -> ConnectionList:
        found = ConnectionList([{"pid": 12, "worker": "w", "state": "hung"}])
        found.rows = [{"pid": 11, "worker": "w", "remote": "\x1b[2J"}]
        return found


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGLINE_RUN_DIR", str(tmp_path / "run"))
    path = tmp_path / "app.py"
    path.write_text("")
    return path


def _answer(monkeypatch: pytest.MonkeyPatch, reply: dict[str, Any] | BaseException) -> FakeClient:
    client = FakeClient(reply)

    def connect(*_: object) -> FakeClient:
        if isinstance(reply, NotRunningError):
            raise reply
        return client

    monkeypatch.setattr(Client, "connect", connect)
    return client


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["--version"]) == 0
    assert capsys.readouterr().out == f"longline {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["start", "--help"], ["status", "-h"]])
def test_help_is_shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(words) == 0
    assert "Usage: longline" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["fly"], ["--fly"], ["stop"], ["stop", "app.py", "-x"]])
def test_wrong_usage_is_one_line_and_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("longline: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["app.py", "start"], "the command comes first: longline start app.py "),
        (["a b.py", "stop", "-g"], "the command comes first: longline stop 'a b.py' -g "),
        (["app.py"], "a command is missing: longline start app.py "),
        (["app.py", "-d"], "a command is missing: longline start app.py -d "),
        (["none.py", "fly"], "No such command 'none.py'."),
    ],
)
def test_words_the_wrong_way_round_are_put_right(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(words) == 2
    assert capsys.readouterr().err.startswith(f"longline: error: {text}")


def test_one_worker_is_no_plural(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _answer(monkeypatch, {"ok": True, "workers": 1})
    assert program.run(["reload", "app.py"]) == 0
    assert capsys.readouterr().out == "reloaded: 1 worker ready\n"


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stop", "reload", "status", "connections"])
def test_nothing_to_ask_is_a_failure_of_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run([command, "app.py"]) == 1
    assert capsys.readouterr() == ("", "longline: error: app.py is not running\n")


def test_a_running_service_can_be_stopped_without_its_script(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = _answer(monkeypatch, {"ok": True})
    script.unlink()
    assert program.run(["stop", "app.py", "-g"]) == 0
    assert client.asked == [("stop", None, {"graceful": True})]
    assert capsys.readouterr().out == "app.py (pid 10) is stopped\n"


def test_a_stop_that_failed_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """P-15."""
    _answer(monkeypatch, ControlError("still there"))
    assert program.run(["stop", "app.py"]) == 1
    assert capsys.readouterr() == ("", "longline: error: still there\n")


def test_reload_says_how_many_workers_are_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = _answer(monkeypatch, {"ok": True, "workers": 5})
    assert program.run(["reload", "app.py"]) == 0
    assert client.asked == [("reload", None, {"graceful": False})]
    assert capsys.readouterr().out == "reloaded: 5 workers ready\n"


def test_a_refused_reload_shows_the_traceback_then_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _answer(monkeypatch, {"ok": False, "error": "no such\nmodule", "traceback": "Traceback: x"})
    assert program.run(["reload", "app.py"]) == 1
    assert capsys.readouterr().err == (
        "Traceback: x\nlongline: error: app.py was not reloaded: no such module\n"
    )


def test_an_interrupt_leaves_the_service_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, KeyboardInterrupt())
    assert program.run(["reload", "app.py"]) == 130


def test_restart_starts_what_did_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _answer(monkeypatch, NotRunningError("app.py is not running"))
    seen: list[Settings] = []
    monkeypatch.setattr(starting, "start_daemon", lambda settings: seen.append(settings) or 0)
    assert program.run(["restart", "-d", "app.py"]) == 0
    assert [settings.daemon for settings in seen] == [True]
    assert capsys.readouterr() == ("app.py is not running\n", "")


def test_restart_obeys_both_of_its_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    client = _answer(monkeypatch, {"ok": True})
    seen: list[Settings] = []
    monkeypatch.setattr(starting, "start_daemon", lambda settings: seen.append(settings) or 0)
    assert program.run(["restart", "-d", "-g", "app.py"]) == 0
    assert client.asked == [("stop", None, {"graceful": True})]
    assert len(seen) == 1


def test_restart_does_not_start_beside_what_would_not_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P-15."""
    _answer(monkeypatch, ControlError("still there"))
    monkeypatch.setattr(starting, "start_daemon", lambda settings: pytest.fail("it started"))
    assert program.run(["restart", "-d", "app.py"]) == 1


def test_a_failed_start_is_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(settings: Settings) -> int:
        raise StartError("the port 80 is in use by pid 7 (nginx)")

    monkeypatch.setattr(starting, "start_foreground", fail)
    assert program.run(["start", "app.py"]) == 1
    expected = "longline: error: the port 80 is in use by pid 7 (nginx)\n"
    assert capsys.readouterr().err == expected


def test_connections_as_json_escape_foreign_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q-5, Q-12."""
    _answer(monkeypatch, {})
    assert program.run(["connections", "app.py", "--json"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert json.loads(out) == {
        "connections": [{"pid": 11, "worker": "w", "remote": "\x1b[2J"}],
        "silent": [{"pid": 12, "worker": "w", "state": "hung"}],
    }


def test_status_as_json_has_the_memory_of_each_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q-12."""
    processes = [{"pid": os.getpid()}, {"pid": 2**22 + 1}, {"pid": None}]
    status = {"service": {}, "workers": [], "processes": processes, "total": {}}
    _answer(monkeypatch, {"ok": True, "status": status})
    assert program.run(["status", "--json", "app.py"]) == 0
    shown = json.loads(capsys.readouterr().out)
    own, gone, unborn = (row["memory"] for row in shown["processes"])
    assert own > 1_000_000
    assert gone is unborn is None
    assert shown["total"]["memory"] == own


def test_watching_as_json_is_a_line_each_second_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status: dict[str, Any] = {"service": {}, "workers": [], "processes": [], "total": {}}
    _answer(monkeypatch, {"ok": True, "status": status})
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(control.time, "sleep", sleep)
    assert program.run(["status", "--json", "-w", "app.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["total"] for line in lines] == [{"memory": 0}] * 3


def test_memory_falls_back_to_what_is_resident(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def refuse(self: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    status: dict[str, Any] = {"processes": [{"pid": os.getpid()}], "total": {}}
    memory.add_memory(status)
    assert status["total"]["memory"] > 1_000_000


def _python(code: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False, **streams)


def test_importing_the_package_is_cheap() -> None:
    done = _python(
        "import longline.cli, sys\n"
        "loaded = {'click', 'rich', 'psutil', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    assert done.returncode == 0


def test_a_command_loads_no_event_loop() -> None:
    done = _python(
        "import sys, longline.cli.program as p\n"
        "p.run(['stop', 'app.py'])\n"
        "loaded = {'rich', 'psutil', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    assert done.returncode == 0


def test_main_exits_with_the_code_and_can_be_called_again() -> None:
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            longline.cli.main(["fly"])
        assert caught.value.code == 2


def test_a_reader_that_had_enough_is_no_noise() -> None:
    read, write = os.pipe()
    os.close(read)
    done = _python(
        "from longline.cli import main; main(['--help'])", stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


def test_closed_standard_streams_are_no_obstacle() -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            '"$0" -c "$1" <&- >&- 2>&-',
            sys.executable,
            "from longline.cli import main; main(['fly'])",
        ],
        check=False,
    )
    assert done.returncode == 2


def test_an_interrupt_while_libraries_load_is_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "run", interrupt)
    with pytest.raises(SystemExit) as caught:
        longline.cli.main([])
    assert caught.value.code == 130
