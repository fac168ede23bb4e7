from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from longline.cli import start
from longline.errors import StartError
from longline.supervisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRELUDE = (
    "import json, os, signal, sys\n"
    "settings = json.loads(sys.argv[1])\n"
    "def say(**outcome):\n"
    "    os.write(settings['ready_fd'], json.dumps(outcome).encode() + b'\\n')\n"
)
SERVICE = {
    "script": "/srv/app.py",
    "version": "0.1.0",
    "python": "3.11.7",
    "core": "python",
    "mode": "daemon",
    "user": "alice",
}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a few lines of Python stand for the master."""

    def use(code: str) -> None:
        monkeypatch.setattr(start, "BOOT", PRELUDE + code)

    return use


def _settings(**more: Any) -> Settings:
    return Settings("/srv/app.py", daemon=True, log_file="/srv/app.log", **more)


def test_a_daemon_that_is_ready_gives_0_and_the_banner(
    stub: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """P-2."""
    stub(f"say(ok=True, status={{'service': {SERVICE!r}, 'workers': []}})")
    assert start.start_daemon(_settings()) == 0
    assert "longline stop /srv/app.py" in capsys.readouterr().out


def test_quiet_prints_nothing(
    stub: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stub("say(ok=True, status={})")
    assert start.start_daemon(_settings(quiet=True)) == 0
    assert capsys.readouterr() == ("", "")


def test_a_daemon_that_fails_shows_its_traceback_and_the_reason(
    stub: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """P-2."""
    stub("say(ok=False, error='no such module', traceback='Traceback: here')")
    with pytest.raises(StartError, match=r"^no such module$"):
        start.start_daemon(_settings())
    assert capsys.readouterr() == ("", "Traceback: here\n")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("sys.exit(7)", "exit 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("os.write(settings['ready_fd'], b'{\"ok\": tr'); sys.exit(3)", "exit 3"),
    ],
)
def test_a_master_that_ends_without_a_word_is_a_failure(
    stub: Callable[[str], None], code: str, how: str
) -> None:
    """P-2."""
    stub(code)
    expected = rf"ended without a word \({how}\); the log is /srv/app.log"
    with pytest.raises(StartError, match=expected):
        start.start_daemon(_settings())


def test_a_daemon_has_its_own_session_null_streams_and_a_tight_umask(
    stub: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Q-1: nothing of the terminal is kept, and the umask is never 0."""
    stub(
        "facts = dict(own=os.getsid(0) == os.getpid(), umask=os.umask(0),\n"
        "    streams=[os.path.samestat(os.fstat(fd), os.stat(os.devnull)) for fd in range(3)],\n"
        "    fds=sorted(fd for fd in map(int, os.listdir('/proc/self/fd'))\n"
        "               if fd > 2 and os.path.exists(f'/proc/self/fd/{fd}')) \n"
        "        == [settings['ready_fd']], path='' in sys.path)\n"
        "say(ok=False, error=json.dumps(facts))"
    )
    with pytest.raises(StartError) as caught:
        start.start_daemon(_settings())
    facts = json.loads(str(caught.value))
    assert facts == {
        "own": True,
        "umask": 0o027,
        "streams": [True, True, True],
        "fds": True,
        "path": False,
    }


def test_an_interrupted_start_tells_that_the_daemon_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Pipe(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    class Process:
        pid = 4711

    def open_pipe(fd: int, mode: str) -> Pipe:
        os.close(fd)
        return Pipe()

    monkeypatch.setattr(start, "open", open_pipe, raising=False)
    monkeypatch.setattr(start.subprocess, "Popen", lambda *_, **__: Process())
    with pytest.raises(KeyboardInterrupt):
        start.start_daemon(_settings())
    assert capsys.readouterr().err == "longline: app.py (pid 4711) goes on in the background\n"


def test_the_foreground_becomes_the_master(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def execute(path: str, command: list[str]) -> None:
        seen.append((path, command))
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "execv", execute)
    settings = Settings("/srv/app.py")
    with pytest.raises(StartError, match="cannot be executed: Permission denied"):
        start.start_foreground(settings)
    path, command = seen[0]
    assert path == command[0] == sys.executable
    assert command[1] == "-P"
    assert Settings.from_json(command[-1]) == settings


def test_an_interpreter_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StartError, match="cannot be executed"):
        start.start_daemon(_settings())


def test_without_fork_only_a_single_process_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(StartError, match="use --single"):
        start.start_foreground(Settings("/srv/app.py"))


def test_a_script_that_fails_alone_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from longline import launch
    from longline.supervisor.script import ScriptFailed

    def fail(script: str, argv: list[str]) -> None:
        raise ScriptFailed(f"{script} could not be loaded", "Traceback: here\n")

    monkeypatch.setattr(launch, "start_single", fail)
    with pytest.raises(StartError, match="could not be loaded"):
        start.start_single(Settings("app.py"))
    assert capsys.readouterr().err == "Traceback: here\n"


def test_a_failed_start_returns_when_its_master_is_gone(
    stub: Callable[[str], None], tmp_path: Path
) -> None:
    """So that the next start does not find the last one running."""
    stub(
        "import atexit, pathlib\n"
        "atexit.register(pathlib.Path(settings['log_file']).touch)\n"
        "say(ok=False, error='x')"
    )
    settings = _settings()
    settings.log_file = str(tmp_path / "gone")
    with pytest.raises(StartError):
        start.start_daemon(settings)
    assert (tmp_path / "gone").exists()
