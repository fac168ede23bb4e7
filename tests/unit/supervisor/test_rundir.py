"""The run directory: where it is, and who may have made it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from longline.errors import StartError
from longline.supervisor.rundir import MAX_SOCKET_PATH, RunDirectory, locate

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def run_directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "base" / "chat-0123456789")


def test_the_same_script_always_has_the_same_directory(tmp_path, monkeypatch):
    script = tmp_path / "chat.py"
    script.touch()
    monkeypatch.chdir(tmp_path)
    assert locate("chat.py") == locate(str(script)) == locate("./sub/../chat.py")


def test_scripts_of_one_name_in_two_places_differ(tmp_path):
    assert locate(str(tmp_path / "a/chat.py")).path != locate(str(tmp_path / "b/chat.py")).path


def test_a_name_is_sanitised_and_short(tmp_path):
    name = locate(str(tmp_path / ("ä b" + "x" * 80 + ".py")), str(tmp_path)).path.name
    stem, digest = name.rsplit("-", 1)
    assert stem == "__b" + "x" * 29
    assert len(stem) == 32
    assert name.isascii()
    assert len(digest) == 10


def test_the_configured_base_wins_over_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGLINE_RUN_DIR", str(tmp_path / "variable"))
    assert locate("chat.py").path.parent == tmp_path / "variable"
    assert locate("chat.py", str(tmp_path / "given")).path.parent == tmp_path / "given"


def test_root_has_its_place_under_run(monkeypatch):
    monkeypatch.delenv("LONGLINE_RUN_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert locate("chat.py").path.parent.name == "longline"
    assert "run" in locate("chat.py").path.parts


def test_a_user_has_the_runtime_directory_or_one_of_its_own(tmp_path, monkeypatch):
    """Q-3: the runtime directory of another user, left over by su, is not taken."""
    monkeypatch.delenv("LONGLINE_RUN_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    owner = os.stat(tmp_path).st_uid or 1234
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    monkeypatch.setattr("longline.supervisor.rundir._belongs_to", lambda _path, _user: True)
    assert locate("chat.py").path.parent == tmp_path / "longline"
    monkeypatch.setattr("longline.supervisor.rundir._belongs_to", lambda _path, _user: False)
    assert locate("chat.py").path.parent == tmp_path / f"longline-{owner}"


def test_nothing_is_made_before_create(tmp_path):
    locate("chat.py", str(tmp_path / "base"))
    assert not list(tmp_path.iterdir())


def test_create_makes_private_levels_whatever_the_umask(run_directory):
    """Q-1."""
    before = os.umask(0o077)
    try:
        run_directory.create()
    finally:
        os.umask(before)
    assert mode_of(run_directory.path.parent) == (0o755 if os.geteuid() == 0 else 0o700)
    assert mode_of(run_directory.path) == 0o711
    assert mode_of(run_directory.control) == 0o700
    assert run_directory.socket.parent == run_directory.control
    assert run_directory.lock.parent == run_directory.pidfile.parent == run_directory.control


def test_create_a_second_time_is_fine(run_directory):
    run_directory.create()
    run_directory.create()


@pytest.mark.parametrize("level", ["base", "path", "control"])
def test_q3_a_link_at_any_level_is_refused(run_directory, tmp_path, level):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place = {
        "base": run_directory.path.parent,
        "path": run_directory.path,
        "control": run_directory.control,
    }[level]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere)
    with pytest.raises(StartError, match="symbolic link"):
        run_directory.create()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("level", ["base", "path", "control"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_q3_a_level_that_others_may_write_is_refused(run_directory, level, mode):
    run_directory.create()
    place = {
        "base": run_directory.path.parent,
        "path": run_directory.path,
        "control": run_directory.control,
    }[level]
    place.chmod(mode)
    with pytest.raises(StartError, match="written by others"):
        run_directory.create()


@needs_root
@pytest.mark.parametrize("level", ["path", "control"])
def test_q3_a_level_of_another_user_is_refused(run_directory, level):
    run_directory.create()
    place = {"path": run_directory.path, "control": run_directory.control}[level]
    os.chown(place, 65534, 65534)
    with pytest.raises(StartError, match="another user"):
        run_directory.create()


def test_q3_a_parent_that_everybody_may_write_is_refused(run_directory, tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(StartError, match="replace it"):
        run_directory.create()
    tmp_path.chmod(0o1777)
    run_directory.create()


def test_a_file_in_the_way_is_refused(run_directory):
    run_directory.path.parent.touch()
    with pytest.raises(StartError, match="no directory"):
        run_directory.create()


def test_a_missing_parent_is_named(tmp_path):
    with pytest.raises(StartError, match="LONGLINE_RUN_DIR"):
        RunDirectory(tmp_path / "missing" / "base" / "chat").create()


def test_a_path_too_long_for_a_socket_is_refused_with_a_way_out(tmp_path):
    run_directory = RunDirectory(tmp_path / ("x" * MAX_SOCKET_PATH) / "chat")
    with pytest.raises(StartError, match="LONGLINE_RUN_DIR"):
        run_directory.create()
    assert not list(tmp_path.iterdir())
