"""The lock and the pid file: proof of life that nobody else can forge."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys

import pytest

from longline import osproc
from longline.errors import ControlError, StartError
from longline.supervisor.pidfile import (
    AlreadyHeld,
    InstanceLock,
    process_matches,
    read_pid,
    remove_pid,
    write_pid,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pid"


class TestInstanceLock:
    def test_it_is_held_until_released(self, path):
        assert not InstanceLock.is_held(path)
        lock = InstanceLock.acquire(path)
        assert InstanceLock.is_held(path)
        lock.release()
        lock.release()
        assert not InstanceLock.is_held(path)

    def test_a_second_holder_is_refused(self, path):
        lock = InstanceLock.acquire(path)
        with pytest.raises(AlreadyHeld, match="runs already"):
            InstanceLock.acquire(path)
        assert issubclass(AlreadyHeld, StartError)
        lock.release()
        InstanceLock.acquire(path).release()

    def test_it_ends_with_the_process(self, path):
        code = (
            "import fcntl, os, sys\n"
            "fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)\n"
            "fcntl.flock(fd, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert InstanceLock.is_held(path)
            child.kill()
            child.wait()
        assert not InstanceLock.is_held(path)

    def test_somebody_who_only_looks_does_not_prevent_the_start(self, path, monkeypatch):
        path.touch(mode=0o600)
        looker = os.open(path, os.O_RDONLY)
        fcntl.flock(looker, fcntl.LOCK_SH)
        monkeypatch.setattr(
            "longline.supervisor.pidfile.time.sleep",
            lambda _seconds: fcntl.flock(looker, fcntl.LOCK_UN),
        )
        InstanceLock.acquire(path).release()
        os.close(looker)

    def test_q1_the_file_is_private_and_the_descriptor_not_inherited(self, path):
        lock = InstanceLock.acquire(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not os.get_inheritable(lock.fileno())
        lock.release()

    def test_q2_a_link_is_refused(self, path, tmp_path):
        path.symlink_to(tmp_path / "victim")
        with pytest.raises(StartError, match="symbolic link"):
            InstanceLock.acquire(path)
        with pytest.raises(ControlError):
            InstanceLock.is_held(path)
        assert not (tmp_path / "victim").exists()


def spoil(kind, path, tmp_path):
    """Put something at `path` that is no pid file of ours; return what to compare later."""
    text = f"{os.getpid()} 1\n"
    victim = tmp_path / "victim"
    victim.write_text(text)
    victim.chmod(0o640)
    if kind == "symbolic link":
        path.symlink_to(victim)
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "no regular file":
        os.mkfifo(path, 0o600)
    elif kind == "another user":
        path.write_text(text)
        path.chmod(0o640)
        os.chown(path, 65534, 65534)
    elif kind == "others may write it":
        path.write_text(text)
        path.chmod(0o662)
    return os.lstat(path).st_ino, victim


SPOILT = [
    "symbolic link",
    "hard link",
    "no regular file",
    pytest.param("another user", marks=needs_root),
    "others may write it",
]


class TestPidFile:
    def test_what_was_written_is_read(self, path):
        write_pid(path, 4242, 987654)
        assert read_pid(path) == (4242, 987654)
        assert path.read_text() == "4242 987654\n"

    def test_q1_it_is_not_for_everybody_and_leaves_nothing_beside_it(self, path, tmp_path):
        before = os.umask(0)
        try:
            write_pid(path, 4242, 1)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert [entry.name for entry in tmp_path.iterdir()] == ["pid"]

    def test_a_new_one_takes_the_place_of_the_old(self, path):
        write_pid(path, 4242, 1)
        write_pid(path, 4343, 2)
        assert read_pid(path) == (4343, 2)

    def test_no_file_is_no_pid(self, path):
        assert read_pid(path) is None

    @pytest.mark.parametrize("kind", SPOILT)
    def test_q2_what_is_not_ours_is_neither_read_nor_overwritten(self, path, tmp_path, kind):
        inode, victim = spoil(kind, path, tmp_path)
        content = victim.read_text()
        with pytest.raises(ControlError, match=kind):
            read_pid(path)
        with pytest.raises(StartError, match=kind):
            write_pid(path, 4242, 1)
        assert not remove_pid(path, os.getpid())
        assert os.lstat(path).st_ino == inode
        assert victim.read_text() == content

    def test_q2_a_directory_that_others_may_write_is_refused(self, path, tmp_path):
        write_pid(path, 4242, 1)
        tmp_path.chmod(0o777)
        with pytest.raises(ControlError, match="directory"):
            read_pid(path)
        with pytest.raises(StartError, match="directory"):
            write_pid(path, 4242, 1)
        tmp_path.chmod(0o1777)
        assert read_pid(path) == (4242, 1)

    @needs_root
    def test_q2_a_directory_of_another_user_is_refused(self, path, tmp_path):
        write_pid(path, 4242, 1)
        os.chown(tmp_path, 65534, 65534)
        with pytest.raises(ControlError, match="directory belongs to another user"):
            read_pid(path)

    @pytest.mark.parametrize(
        "content",
        [b"", b"\n", b"4242\n", b"4242 x\n", b"-1 5\n", b"0 5\n", b"1 0\n", b"4 5 6\n",
         b"4242 5\nmore", b"\xb2 5\n", b"9" * 100 + b" 5\n"],
    )  # fmt: skip
    def test_q2_other_text_is_refused(self, path, content):
        path.write_bytes(content)
        path.chmod(0o640)
        with pytest.raises(ControlError, match="holds no pid"):
            read_pid(path)

    def test_only_the_own_file_is_removed(self, path):
        write_pid(path, 4242, 1)
        assert not remove_pid(path, 4343)
        assert path.exists()
        assert remove_pid(path, 4242)
        assert not path.exists()
        assert not remove_pid(path, 4242)

    def test_a_directory_that_is_missing_is_named(self, tmp_path):
        with pytest.raises(StartError, match="No such file"):
            write_pid(tmp_path / "missing" / "pid", 4242, 1)


class TestProcessMatches:
    def test_p10_a_stale_pid_of_another_process_does_not_match(self):
        start = osproc.start_time(os.getpid()) or 0
        assert process_matches(os.getpid(), start)
        if start:
            assert not process_matches(os.getpid(), start - 1)

    def test_p10_a_dead_process_does_not_match(self):
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        assert not process_matches(child.pid, 12345)
        assert not process_matches(child.pid, 0)

    def test_a_zombie_does_not_match(self):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        start = osproc.start_time(pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if start:
            assert not process_matches(pid, start)
        os.waitpid(pid, 0)

    def test_without_a_start_time_any_live_process_matches(self):
        assert process_matches(os.getpid(), 0)
        assert process_matches(1, 0)
