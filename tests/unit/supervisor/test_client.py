from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from longline.errors import ControlError, NotRunningError
from longline.supervisor import client as client_module
from longline.supervisor.channel import Channel, ChannelError
from longline.supervisor.client import Client, ConnectionList
from longline.supervisor.pidfile import InstanceLock, write_pid
from longline.supervisor.rundir import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from longline.supervisor.channel import Message

    Answer = Callable[[Channel, Message], None]


@pytest.fixture
def rundir(tmp_path: Path) -> RunDirectory:
    found = RunDirectory(tmp_path / "app-0123456789")
    found.create()
    return found


class FakeMaster:
    """Holds the lock and answers each command as a test wants, in a thread."""

    def __init__(self, rundir: RunDirectory, answer: Answer) -> None:
        self.lock = InstanceLock.acquire(rundir.lock)
        self.seen: list[dict[str, Any]] = []
        self._answer = answer
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(rundir.socket))
        self._sock.listen(16)
        self._channels: list[Channel] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            sock, _ = self._sock.accept()
            channel = Channel(sock)
            self._channels.append(channel)
            try:
                messages = channel.receive_within(5)
            except ChannelError:
                continue
            for message in messages:
                if message.body["command"] == "quit":
                    return
                self.seen.append(message.body)
                self._answer(channel, message)

    def close(self, rundir: RunDirectory) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(rundir.socket))
            Channel(sock).send({"command": "quit"})
            self._thread.join()
        for channel in self._channels:
            channel.close()
        self._sock.close()
        self.lock.release()


@pytest.fixture
def start(rundir: RunDirectory) -> Iterator[Callable[[Answer], FakeMaster]]:
    masters: list[FakeMaster] = []

    def begin(answer: Answer) -> FakeMaster:
        masters.append(FakeMaster(rundir, answer))
        return masters[-1]

    yield begin
    for master in masters:
        master.close(rundir)


def _reply(**body: Any) -> Answer:
    return lambda channel, message: channel.send(body)


def test_a_free_lock_means_that_nothing_runs(rundir: RunDirectory) -> None:
    with pytest.raises(NotRunningError, match=r"^app\.py is not running$"):
        Client.connect(rundir, "app.py")


def test_a_missing_run_directory_means_that_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError):
        Client.connect(RunDirectory(tmp_path / "none"), "app.py")


def test_a_stale_pid_file_is_no_obstacle_and_named(rundir: RunDirectory) -> None:
    """Q-2: the pid of a process that is not the service is told, and nothing more."""
    write_pid(rundir.pidfile, os.getpid(), 1)
    with pytest.raises(NotRunningError, match=f"names process {os.getpid()}, which is not it"):
        Client.connect(rundir, "app.py")


def test_a_pid_file_that_is_a_link_is_not_followed(rundir: RunDirectory, tmp_path: Path) -> None:
    """Q-2."""
    (tmp_path / "elsewhere").write_text("1234 5\n")
    rundir.pidfile.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotRunningError, match=r"is not running$"):
        Client.connect(rundir, "app.py")


def test_a_master_that_takes_no_command_is_named(rundir: RunDirectory) -> None:
    write_pid(rundir.pidfile, 4711, 1)
    lock = InstanceLock.acquire(rundir.lock)
    with pytest.raises(ControlError, match=r"app\.py \(pid 4711\) holds its lock"):
        Client.connect(rundir, "app.py", timeout=0.05)
    lock.release()


def test_a_command_and_its_arguments_arrive_and_the_answer_comes_back(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    master = start(_reply(ok=True, status={"x": 1}))
    with Client.connect(rundir, "app.py") as client:
        assert client.pid == os.getpid()
        assert client.ask("status", graceful=True) == {"ok": True, "status": {"x": 1}}
    assert master.seen == [{"command": "status", "graceful": True}]


def test_an_answer_of_many_megabytes_is_taken(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    def answer(channel: Channel, _message: Message) -> None:
        channel.send({"ok": True, "status": "x" * 3_000_000})
        while not channel.flush():
            pass

    start(answer)
    with Client.connect(rundir, "app.py") as client:
        assert len(client.ask("status")["status"]) == 3_000_000


def test_fifty_clients_are_answered_at_once(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    """Q-12: also while the master's queue of clients is full."""
    start(_reply(ok=True))
    answers: list[dict[str, Any]] = []

    def ask() -> None:
        with Client.connect(rundir, "app.py") as client:
            answers.append(client.ask("status"))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"ok": True}] * 50


def test_a_silent_master_is_an_error_that_names_it(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    start(lambda channel, message: None)
    with Client.connect(rundir, "app.py") as client:
        expected = rf"app\.py \(pid {os.getpid()}\) does not answer within 0\.05 s"
        with pytest.raises(ControlError, match=expected):
            client.ask("status", timeout=0.05)


def test_a_master_that_ends_without_an_answer_is_an_error(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    start(lambda channel, message: channel.close())
    with (
        Client.connect(rundir, "app.py") as client,
        pytest.raises(ControlError, match="ended without an answer to reload"),
    ):
        client.ask("reload", timeout=None)


def test_a_long_command_waits_while_the_master_answers_others(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-15: a reload may take minutes; two probes pass before its answer."""
    monkeypatch.setattr(client_module, "PROBE_INTERVAL", 0.01)
    waiting: list[Channel] = []
    probes = 0

    def answer(channel: Channel, message: Message) -> None:
        nonlocal probes
        if message.body["command"] == "reload":
            waiting.append(channel)
            return
        probes += 1
        channel.send({"ok": True, "status": {}})
        if probes == 2:
            waiting[0].send({"ok": True, "workers": 3})

    start(answer)
    with Client.connect(rundir, "app.py") as client:
        assert client.ask("reload", timeout=None)["workers"] == 3


def test_a_long_command_ends_when_the_master_hangs(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-15: a hung master is told, and never signalled."""
    monkeypatch.setattr(client_module, "PROBE_INTERVAL", 0.01)
    monkeypatch.setattr(client_module, "ANSWER_TIMEOUT", 0.05)
    start(lambda channel, message: None)
    with (
        Client.connect(rundir, "app.py") as client,
        pytest.raises(ControlError, match="does not answer any more; stop stays asked"),
    ):
        client.stop()


def test_stop_returns_when_the_lock_is_free(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    """P-15."""

    def answer(channel: Channel, _message: Message) -> None:
        channel.send({"ok": True})
        master.lock.release()

    master = start(answer)
    with Client.connect(rundir, "app.py") as client:
        client.pid = None
        client.stop(graceful=True)
    assert master.seen == [{"command": "stop", "graceful": True}]
    assert not InstanceLock.is_held(rundir.lock)


def test_stop_fails_while_the_master_is_still_there(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-15: an answer alone is no proof."""
    monkeypatch.setattr(client_module, "GONE_TIMEOUT", 0.05)
    start(_reply(ok=True))
    with (
        Client.connect(rundir, "app.py") as client,
        pytest.raises(ControlError, match="and is still there"),
    ):
        client.stop()


def test_a_refused_stop_is_an_error(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    start(_reply(ok=False, error="not now"))
    with Client.connect(rundir, "app.py") as client, pytest.raises(ControlError, match="not now"):
        client.stop()


def test_a_peer_of_another_user_is_refused(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q-11: the answer of somebody else's process is not ours to believe."""
    start(_reply(ok=True))
    monkeypatch.setattr(client_module, "peer_uid", lambda sock: 54321)
    with pytest.raises(ControlError, match=r"another user \(uid 54321\)"):
        Client.connect(rundir, "app.py")


def test_connections_come_from_each_worker(
    rundir: RunDirectory, start: Callable[[Answer], FakeMaster]
) -> None:
    def answer(channel: Channel, message: Message) -> None:
        workers = [{"pid": pid, "worker": "w", "state": "ready"} for pid in (11, 12)]
        channel.send({"ok": True, "workers": workers})
        with socket.socket(fileno=message.fds[0]) as sock:
            assert fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK
            for body in (
                {"pid": 11, "rows": [{"id": 1}], "last": False},
                {"pid": 12, "rows": [], "last": True},
                {"pid": 11, "rows": [{"id": 2}], "last": True},
            ):
                sock.send(json.dumps(body).encode())

    start(answer)
    with Client.connect(rundir, "app.py") as client:
        found = client.connections()
    assert found.rows == [{"id": 1}, {"id": 2}]
    assert found.silent == []


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        yield ours, theirs


def test_a_worker_that_does_not_answer_is_listed_with_its_state(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q-12: a hung worker shows as hung, not missing."""
    monkeypatch.setattr(client_module, "SILENCE", 0.01)
    hung = {"pid": 11, "worker": "w", "state": "hung"}
    found = ConnectionList([hung, {"pid": 12, "worker": "w", "state": "ready"}])
    pair[1].send(b'{"pid":12,"rows":[{"id":1}],"last":true}')
    found.collect(pair[0])
    assert found.rows == [{"id": 1}]
    assert found.silent == [hung]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"pid":99,"rows":[{"id":1}],"last":true}',
        b'{"pid":11.0,"rows":[{"id":1}],"last":true}',
        b'{"pid":11,"rows":{"id":1},"last":true}',
        b'{"pid":[],"rows":[],"last":true}',
        b'{"pid":11,"rows":[1,"x",null],"last":false}',
        b"[" * 60_000,
    ],
)
def test_what_is_no_row_of_an_asked_worker_is_dropped(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, datagram: bytes
) -> None:
    monkeypatch.setattr(client_module, "SILENCE", 0.01)
    found = ConnectionList([{"pid": 11, "worker": "w", "state": "ready"}])
    pair[1].send(datagram)
    found.collect(pair[0])
    assert found.rows == []
    assert [row["pid"] for row in found.silent] == [11]


def test_without_workers_nothing_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    found = ConnectionList([])
    found.collect(pair[0])
    assert found.rows == found.silent == []
