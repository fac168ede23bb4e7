from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from longline.cli import program, start
from longline.supervisor.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


class Started:
    """What the commands would have started."""

    def __init__(self) -> None:
        self.how = ""
        self.settings = Settings("")

    def by(self, how: str) -> Any:
        def begin(settings: Settings) -> int:
            self.how, self.settings = how, settings
            return 0

        return begin


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text("")
    found = Started()
    for how in ("foreground", "daemon", "single"):
        monkeypatch.setattr(start, f"start_{how}", found.by(how))
    return found


def test_without_options_the_service_starts_in_the_foreground(
    started: Started, tmp_path: Path
) -> None:
    assert program.run(["start", "app.py"]) == 0
    assert started.how == "foreground"
    assert started.settings == Settings(str(tmp_path / "app.py"))


ALL = [
    ("--user", "www", "user", "www"),
    ("--log", "a.log", "log_file", "{}/a.log"),
    ("--log-level", "Debug", "log_level", "DEBUG"),
    ("--stdout", "/x/out", "stdout_file", "/x/out"),
    ("--pid-file", "p", "pid_file", "{}/p"),
    ("--run-dir", "r", "run_dir", "{}/r"),
    ("--ready-timeout", "1.5", "ready_timeout", 1.5),
    ("--ready-timeout", "none", "ready_timeout", None),
    ("--ready-timeout", "Unlimited", "ready_timeout", None),
    ("--graceful-timeout", "60", "graceful_timeout", 60.0),
    ("--daemon", None, "daemon", True),
    ("--quiet", None, "quiet", True),
    ("--log-json", None, "log_json", True),
    ("--no-preload", None, "preload", False),
    ("--fail-fast", None, "fail_fast", True),
]


def _expected(value: object, tmp_path: Path) -> object:
    return value.format(tmp_path) if isinstance(value, str) else value


@pytest.mark.parametrize(("option", "value", "name", "wanted"), ALL)
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_an_option_stands_before_or_after_the_script(
    started: Started,
    tmp_path: Path,
    option: str,
    value: str | None,
    name: str,
    wanted: object,
    first: bool,
) -> None:
    words = [option] if value is None else [option, value]
    line = [*words, "app.py"] if first else ["app.py", *words]
    assert program.run(["start", *line]) == 0
    assert getattr(started.settings, name) == _expected(wanted, tmp_path)


@pytest.mark.parametrize(("option", "value", "name", "wanted"), ALL)
def test_each_option_has_its_variable(
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    option: str,
    value: str | None,
    name: str,
    wanted: object,
) -> None:
    variable = "LONGLINE_" + option.removeprefix("--").replace("-", "_").upper()
    monkeypatch.setenv(variable, value or "1")
    assert program.run(["start", "app.py"]) == 0
    assert getattr(started.settings, name) == _expected(wanted, tmp_path)


def test_the_command_line_wins_over_a_variable(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGLINE_LOG_LEVEL", "error")
    assert program.run(["start", "app.py", "--log-level", "warning"]) == 0
    assert started.settings.log_level == "WARNING"


def test_an_empty_variable_is_no_setting(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """L-2: an empty text turns no deadline off."""
    monkeypatch.setenv("LONGLINE_GRACEFUL_TIMEOUT", "")
    assert program.run(["start", "app.py"]) == 0
    assert started.settings.graceful_timeout is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--ready-timeout", "0"),
        ("--ready-timeout", "-1"),
        ("--ready-timeout", "nan"),
        ("--ready-timeout", "inf"),
        ("--ready-timeout", ""),
        ("--ready-timeout", "soon"),
        ("--graceful-timeout", "0"),
        ("--graceful-timeout", "none"),
        ("--log-level", "loud"),
    ],
)
def test_a_value_that_cannot_be_is_a_usage_error_of_one_line(
    started: Started, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    """L-2: 0 and empty texts turn no deadline off."""
    assert program.run(["start", "app.py", option, value]) == 2
    error = capsys.readouterr().err
    assert error.startswith("longline: error: ")
    assert option in error
    assert error.count("\n") == 1
    assert started.how == ""


def test_a_bad_value_in_a_variable_is_a_usage_error(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """L-2."""
    monkeypatch.setenv("LONGLINE_READY_TIMEOUT", "0")
    assert program.run(["start", "app.py"]) == 2
    assert "LONGLINE_READY_TIMEOUT" in capsys.readouterr().err


def test_words_after_two_dashes_belong_to_the_script(started: Started) -> None:
    assert program.run(["start", "app.py", "-q", "--", "-d", "--port", "80"]) == 0
    assert started.settings.argv == ["-d", "--port", "80"]
    assert started.settings.quiet
    assert not started.settings.daemon


def test_a_daemon_logs_beside_its_script(started: Started, tmp_path: Path) -> None:
    assert program.run(["start", "-d", "app.py"]) == 0
    assert started.how == "daemon"
    assert started.settings.log_file == str(tmp_path / "app.log")


def test_single_starts_without_a_master(started: Started) -> None:
    assert program.run(["start", "--single", "app.py"]) == 0
    assert started.how == "single"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--single", "-d"], "exclude each other"),
        (["--group", "www"], "--group needs --user"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    started: Started, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    assert program.run(["start", "app.py", *options]) == 2
    assert reason in capsys.readouterr().err
    assert started.how == ""


@pytest.mark.parametrize("command", ["start", "restart", "stop", "reload", "status", "connections"])
@pytest.mark.parametrize(
    ("script", "reason"), [("none.py", "there is no script"), (".", "is a directory")]
)
def test_a_script_that_cannot_be_one_is_a_usage_error(
    started: Started,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
    script: str,
    reason: str,
) -> None:
    assert program.run([command, script, "--run-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("longline: error: ")
    assert reason in error
    assert error.count("\n") == 1


def test_an_unreadable_script_is_a_usage_error(
    started: Started, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert program.run(["start", "app.py"]) == 2
    assert capsys.readouterr().err == "longline: error: the script app.py cannot be read\n"
