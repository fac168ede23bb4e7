"""Files that are opened with care and rotated, terminals that nobody reads."""

from __future__ import annotations

import fcntl
import os
import pty
import resource
import stat
import sys

import pytest

from longline.errors import StartError
from longline.supervisor.log import LogWriter, Record

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the rule is for root")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def open_writer(path, clock):
    writers = []

    def make(**options):
        options = {"console": None, "clock": clock} | options
        writers.append(LogWriter(str(path), **options))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


def say(writer, message="hello"):
    writer.write(Record(1_795_455_092.0, 20, "app", 1, message))


def messages(path):
    return [line.split(": ", 1)[1] for line in path.read_text().splitlines()]


class TestOpening:
    def test_q1_it_is_not_for_everybody(self, open_writer, path):
        before = os.umask(0)
        try:
            open_writer()
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_it_goes_on_where_the_last_run_ended(self, open_writer, path):
        path.write_text("x: before\n")
        say(open_writer(), "after")
        assert messages(path) == ["before", "after"]

    def test_q4_a_link_is_refused(self, open_writer, path, tmp_path):
        path.symlink_to(tmp_path / "victim")
        with pytest.raises(StartError, match="symbolic link"):
            open_writer()
        assert not (tmp_path / "victim").exists()

    def test_q4_a_hard_link_is_refused(self, open_writer, path, tmp_path):
        (tmp_path / "victim").write_text("")
        path.hardlink_to(tmp_path / "victim")
        with pytest.raises(StartError, match="hard link"):
            open_writer()

    def test_q4_a_pipe_is_refused_and_not_waited_for(self, open_writer, path):
        os.mkfifo(path)
        with pytest.raises(StartError, match="cannot write the log"):
            open_writer()
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(StartError, match="no regular file"):
            open_writer()
        os.close(reader)

    def test_a_directory_is_refused(self, open_writer, path):
        path.mkdir()
        with pytest.raises(StartError, match="directory"):
            open_writer()

    def test_a_missing_directory_is_named(self, tmp_path):
        with pytest.raises(StartError, match="missing: No such file"):
            LogWriter(str(tmp_path / "missing" / "log"), console=None)

    @needs_root
    def test_q4_root_does_not_write_into_the_directory_of_another_user(
        self, open_writer, path, tmp_path
    ):
        os.chown(tmp_path, 65534, 65534)
        with pytest.raises(StartError, match="another user"):
            open_writer()
        assert not path.exists()

    @needs_root
    def test_q4_root_does_not_write_where_anybody_may_replace_the_file(self, open_writer, tmp_path):
        tmp_path.chmod(0o777)
        with pytest.raises(StartError, match="another user"):
            open_writer()
        tmp_path.chmod(0o1777)
        open_writer()

    @needs_root
    def test_q4_a_file_of_another_user_in_a_shared_directory_is_refused(
        self, open_writer, path, tmp_path
    ):
        tmp_path.chmod(0o1777)
        path.touch()
        os.chown(path, 65534, 65534)
        with pytest.raises(StartError):
            open_writer()

    def test_dev_null_is_a_file_like_any_other(self, clock):
        writer = LogWriter("/dev/null", console=None, max_bytes=1, clock=clock)
        say(writer)
        clock.now += 10
        say(writer)
        writer.reopen()
        say(writer)
        assert writer.lost == 0
        writer.close()

    def test_a_relative_path_survives_a_change_of_directory(self, tmp_path, monkeypatch, clock):
        monkeypatch.chdir(tmp_path)
        writer = LogWriter("log", console=None, clock=clock)
        monkeypatch.chdir("/")
        writer.reopen()
        say(writer)
        writer.close()
        assert messages(tmp_path / "log") == ["hello"]


class TestRotation:
    def test_a_full_file_is_renamed_and_the_oldest_dropped(self, open_writer, path, tmp_path):
        writer = open_writer(max_bytes=100, keep=2)
        for number in range(8):
            say(writer, f"number {number}")
        assert messages(path) == ["number 7"] or messages(path) == ["number 6", "number 7"]
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
        everything = messages(tmp_path / "log.2") + messages(tmp_path / "log.1") + messages(path)
        assert everything == [f"number {n}" for n in range(8 - len(everything), 8)]
        assert path.stat().st_size <= 100
        assert writer.lost == 0

    def test_a_record_above_the_limit_does_not_rotate_an_empty_file(self, open_writer, tmp_path):
        say(open_writer(max_bytes=10))
        assert [entry.name for entry in tmp_path.iterdir()] == ["log"]

    def test_keep_none_begins_anew(self, open_writer, path, tmp_path):
        writer = open_writer(max_bytes=100, keep=0)
        for number in range(8):
            say(writer, f"number {number}")
        assert [entry.name for entry in tmp_path.iterdir()] == ["log"]
        assert messages(path)[-1] == "number 7"

    def test_without_a_limit_nothing_is_rotated(self, open_writer, tmp_path):
        writer = open_writer(max_bytes=None)
        for _ in range(100):
            say(writer)
        assert [entry.name for entry in tmp_path.iterdir()] == ["log"]

    def test_when_it_cannot_be_rotated_the_file_grows_and_says_why(
        self, open_writer, path, monkeypatch
    ):
        writer = open_writer(max_bytes=100)

        def refuse(*_args, **_options):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(os, "rename", refuse)
        for number in range(6):
            say(writer, f"number {number}")
        text = path.read_text()
        assert text.count("could not be rotated: Read-only file system") == 1
        assert text.count("number") == 6
        assert writer.lost == 0

    def test_q4_a_link_that_takes_the_place_is_not_followed(self, open_writer, path, tmp_path):
        writer = open_writer()
        say(writer, "one")
        path.rename(tmp_path / "old")
        path.symlink_to(tmp_path / "victim")
        writer.reopen()
        say(writer, "two")
        assert not (tmp_path / "victim").exists()
        assert "symbolic link" in (tmp_path / "old").read_text()
        assert messages(tmp_path / "old")[-1] == "two"
        assert writer.lost == 0

    def test_somebody_elses_rotation_is_noticed_after_a_second(
        self, open_writer, path, tmp_path, clock
    ):
        writer = open_writer()
        say(writer, "one")
        path.rename(tmp_path / "log.old")
        clock.now += 0.9
        say(writer, "two")
        clock.now += 0.2
        say(writer, "three")
        assert messages(tmp_path / "log.old") == ["one", "two"]
        assert messages(path) == ["three"]

    def test_a_file_put_in_its_place_is_taken(self, open_writer, path, tmp_path, clock):
        writer = open_writer()
        path.rename(tmp_path / "log.old")
        path.touch()
        clock.now += 2
        say(writer)
        assert messages(path) == ["hello"]

    def test_a_file_that_others_emptied_counts_from_zero(self, open_writer, path, tmp_path, clock):
        writer = open_writer(max_bytes=100)
        say(writer)
        os.truncate(path, 0)
        clock.now += 2
        say(writer)
        assert messages(path) == ["hello"]
        assert not (tmp_path / "log.1").exists()

    def test_a_directory_that_vanished_costs_no_record(self, open_writer, path, tmp_path, clock):
        directory = tmp_path / "sub"
        directory.mkdir()
        writer = LogWriter(str(directory / "log"), console=None, clock=clock)
        directory.rename(tmp_path / "moved")
        for _ in range(3):
            clock.now += 2
            say(writer)
        writer.close()
        text = (tmp_path / "moved" / "log").read_text()
        assert text.count("hello") == 3
        assert text.count("No such file") == 1

    def test_a_closed_writer_stays_closed(self, open_writer):
        writer = open_writer()
        writer.close()
        writer.reopen()
        say(writer)
        assert writer.lost == 1


class TestFullDisk:
    @pytest.fixture
    def file_limit(self):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_q6_losses_are_counted_and_told_when_it_works_again(
        self, open_writer, path, file_limit
    ):
        writer = open_writer()
        say(writer, "before")
        size = path.stat().st_size
        try:
            # The first record fits in part only.
            file_limit(size + 20)
            for _ in range(3):
                say(writer, "lost")
        finally:
            file_limit(resource.RLIM_INFINITY)
        assert writer.lost == 3
        say(writer, "after")
        say(writer, "and on")
        lines = path.read_text().splitlines()
        assert len(lines) == 5
        assert lines[0].endswith("app: before")
        assert "WARNING" in lines[2]
        assert "3 log records were lost here: File too large" in lines[2]
        assert lines[3].endswith("app: after")
        assert lines[4].endswith("app: and on")
        assert writer.lost == 3

    def test_q6_an_error_never_reaches_the_caller(self, open_writer, monkeypatch):
        writer = open_writer()

        def fail(_descriptor, _data):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "write", fail)
        say(writer)
        monkeypatch.undo()
        assert writer.lost == 1


class TestConsole:
    def test_q6_a_pipe_that_nobody_reads_is_never_waited_for(self):
        read, write = os.pipe()
        writer = LogWriter(None, console=write)
        for _ in range(200):
            say(writer, "x" * 2000)
        assert writer.lost > 0
        assert not fcntl.fcntl(write, fcntl.F_GETFL) & os.O_NONBLOCK
        lost = writer.lost
        os.set_blocking(read, False)
        self.drain(read)
        say(writer, "again")
        assert f"{lost} log records were lost here" in self.drain(read)
        assert writer.lost == lost
        os.close(read)
        os.close(write)

    def test_q6_a_stuck_terminal_is_never_waited_for(self):
        master, terminal = pty.openpty()
        writer = LogWriter(None, console=terminal)
        for number in range(3000):
            say(writer, "x" * (number % 997))
        assert writer.lost > 0
        writer.close()
        os.close(master)
        os.close(terminal)

    def test_q6_a_closed_pipe_harms_nobody(self):
        read, write = os.pipe()
        writer = LogWriter(None, console=write)
        os.close(read)
        say(writer)
        os.close(write)
        say(writer)
        assert writer.lost == 2

    def test_q6_a_terminal_that_is_gone_harms_nobody(self):
        master, terminal = pty.openpty()
        writer = LogWriter(None, console=terminal)
        os.close(master)
        say(writer)
        assert writer.lost == 1
        writer.close()
        os.close(terminal)

    def test_a_stuck_terminal_does_not_keep_records_from_the_file(self, tmp_path):
        read, write = os.pipe()
        writer = LogWriter(str(tmp_path / "log"), console=write)
        for _ in range(200):
            say(writer, "x" * 2000)
        writer.close()
        assert len(messages(tmp_path / "log")) == 200
        os.close(read)
        os.close(write)

    @pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/fd")
    def test_c7_nothing_stays_open(self, tmp_path):
        master, terminal = pty.openpty()
        before = len(os.listdir("/proc/self/fd"))
        writer = LogWriter(str(tmp_path / "log"), console=terminal, max_bytes=100)
        for _ in range(10):
            say(writer)
            writer.reopen()
        writer.close()
        assert len(os.listdir("/proc/self/fd")) == before
        os.close(master)
        os.close(terminal)

    @staticmethod
    def drain(read):
        chunks = []
        while True:
            try:
                chunks.append(os.read(read, 65536))
            except BlockingIOError:
                return b"".join(chunks).decode()
