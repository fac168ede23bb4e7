from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from longline.errors import StartError
from longline.supervisor import main as master
from longline.supervisor.pidfile import InstanceLock, read_pid, write_pid
from longline.supervisor.rundir import locate
from longline.supervisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(master, "_set_title", lambda settings: None)
    monkeypatch.setattr(master, "raise_descriptor_limit", lambda: (0, 0))
    return Settings(
        str(tmp_path / "app.py"),
        run_dir=str(tmp_path / "run"),
        log_file=str(tmp_path / "app.log"),
        pid_file=str(tmp_path / "app.pid"),
    )


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Let a function stand for the supervisor's loop."""

    def use(loop: Callable[[], int]) -> None:
        class Loop:
            def __init__(self, *parts: Any) -> None:
                pass

            def run(self) -> int:
                return loop()

        monkeypatch.setattr(master, "Supervisor", Loop)

    return use


def test_lock_and_pid_files_live_as_long_as_the_loop(
    settings: Settings, supervise: Callable[[Callable[[], int]], None]
) -> None:
    """Q-2."""
    rundir = locate(settings.script, settings.run_dir)
    pid_file = str(settings.pid_file)

    def loop() -> int:
        assert InstanceLock.is_held(rundir.lock)
        for path in (rundir.pidfile, pid_file):
            content = read_pid(path)
            assert content is not None
            assert content[0] == os.getpid()
        return 5

    supervise(loop)
    assert master.run(settings) == 5
    assert not InstanceLock.is_held(rundir.lock)
    assert read_pid(rundir.pidfile) is read_pid(pid_file) is None


def test_a_loop_that_fails_leaves_no_lock_and_no_pid_file(
    settings: Settings, supervise: Callable[[Callable[[], int]], None]
) -> None:
    def loop() -> int:
        raise StartError("no port")

    supervise(loop)
    with pytest.raises(StartError, match="no port"):
        master.run(settings)
    rundir = locate(settings.script, settings.run_dir)
    assert not InstanceLock.is_held(rundir.lock)
    assert read_pid(rundir.pidfile) is None


def test_a_second_master_is_refused_and_the_first_is_named(settings: Settings) -> None:
    rundir = locate(settings.script, settings.run_dir)
    rundir.create()
    lock = InstanceLock.acquire(rundir.lock)
    write_pid(rundir.pidfile, 4711, 1)
    with pytest.raises(StartError, match=r"^app\.py is running already \(pid 4711\)$"):
        master.run(settings)
    assert read_pid(rundir.pidfile) == (4711, 1)
    lock.release()


def test_a_pid_file_that_is_somebody_elses_stops_the_start(
    settings: Settings, supervise: Callable[[Callable[[], int]], None], tmp_path: Path
) -> None:
    """Q-2: a link is neither followed nor replaced."""
    supervise(lambda: 0)
    (tmp_path / "precious").write_text("data")
    os.symlink(tmp_path / "precious", str(settings.pid_file))
    with pytest.raises(StartError, match="symbolic link"):
        master.run(settings)
    assert (tmp_path / "precious").read_text() == "data"


@pytest.mark.parametrize(
    ("uid", "user", "silenced", "warned"),
    [(0, None, "", True), (0, "www", "", False), (0, None, "1", False), (1000, None, "", False)],
)
def test_root_without_a_user_is_warned(
    settings: Settings,
    supervise: Callable[[Callable[[], int]], None],
    monkeypatch: pytest.MonkeyPatch,
    uid: int,
    user: str | None,
    silenced: str,
    warned: bool,
) -> None:
    """Q-9."""
    supervise(lambda: 0)
    monkeypatch.setenv("LONGLINE_ROOT_OK", silenced)
    real = os.geteuid
    settings.user = user

    class Process:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def geteuid(self) -> int:
            return uid

    monkeypatch.setattr(master, "os", Process())
    assert master.run(settings) == 0
    assert os.geteuid is real
    with open(str(settings.log_file), encoding="utf-8") as log:
        assert ("runs as root" in log.read()) is warned


def _boot(settings: Settings, code: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-c", code + master.BOOT, settings.to_json()]
    return subprocess.run(command, check=False, capture_output=True, **options)


def test_a_start_that_fails_is_one_line_and_code_1(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no directory")
    done = _boot(settings)
    assert done.returncode == 1
    assert done.stderr.startswith(b"longline: error: ")
    assert done.stderr.count(b"\n") == 1


def test_a_daemon_that_fails_reports_it_through_the_pipe(
    settings: Settings, tmp_path: Path
) -> None:
    """P-2."""
    (tmp_path / "run").write_text("no directory")
    read, write = os.pipe()
    settings.daemon, settings.ready_fd = True, write
    done = _boot(settings, pass_fds=(write,))
    os.close(write)
    with open(read, "rb") as pipe:
        outcome = json.loads(pipe.read())
    assert done.returncode == 1
    assert done.stderr == b""
    assert outcome["ok"] is False
    assert "run" in outcome["error"]


def test_an_error_of_ours_is_reported_with_its_traceback_and_logged(settings: Settings) -> None:
    read, write = os.pipe()
    settings.daemon, settings.ready_fd = True, write
    broken = "import longline.supervisor.main as m; m.Supervisor = None; "
    done = _boot(settings, broken, pass_fds=(write,))
    os.close(write)
    with open(read, "rb") as pipe:
        outcome = json.loads(pipe.read())
    assert done.returncode == master.EXIT_BUG
    assert "the master failed" in outcome["error"]
    assert "Traceback" in outcome["traceback"]
    with open(str(settings.log_file), encoding="utf-8") as log:
        assert "TypeError" in log.read()


def test_the_master_loads_neither_an_event_loop_nor_the_command_line() -> None:
    banned = "{'asyncio', 'click', 'rich', 'psutil', 'uvloop'}"
    code = (
        "import sys, longline.supervisor.main\n"
        f"loaded = {banned} & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
