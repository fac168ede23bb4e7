"""The control socket: who may ask, what is answered, and what becomes of bad clients."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from longline.errors import StartError
from longline.supervisor import control
from longline.supervisor.channel import Channel, ChannelClosed
from longline.supervisor.control import ControlServer, Request, peer_uid

from .master_lab import Lab, worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Desk:
    """A control server and what it was asked."""

    def __init__(self, path: str) -> None:
        self.asked: list[Request] = []
        self.server = ControlServer(path, self.asked.append)
        self.clients: list[Channel] = []

    def client(self) -> tuple[Channel, Request]:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.server.path)
        self.clients.append(Channel(sock))
        request = self.server.accept(0.0)
        assert request is not None
        return self.clients[-1], request


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(str(tmp_path / "control.sock"))
    yield desk
    for client in desk.clients:
        client.close()
    desk.server.close()


def test_the_socket_is_private_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = ControlServer(str(path), lambda request: None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.close()
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    ControlServer(path, lambda request: None).close()


def test_a_place_that_cannot_be_had_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be made"):
        ControlServer(str(tmp_path / "missing" / "s"), lambda request: None)


def test_a_command_is_obeyed_once_and_answered_once(desk: Desk) -> None:
    client, request = desk.client()
    client.send({"command": "status"})
    desk.server.serve(request)
    client.send({"command": "stop"})
    desk.server.serve(request)
    assert [asked.command for asked in desk.asked] == ["status"]
    request.reply(ok=True)
    assert desk.server.finished(1.0) == [request]
    request.close()
    assert [m.body for m in client.receive()] == [{"ok": True}]
    with pytest.raises(ChannelClosed):
        client.receive()


@pytest.mark.parametrize("command", ["", "exec", None, ["stop"], {"a": 1}, 7, "STOP"])
def test_an_unknown_command_is_refused(desk: Desk, command: Any) -> None:
    client, request = desk.client()
    client.send({"command": command})
    desk.server.serve(request)
    assert desk.asked == []
    assert client.receive()[0].body == {"ok": False, "error": "there is no such command"}


def test_a_silent_client_is_closed_after_five_seconds(desk: Desk) -> None:
    _, request = desk.client()
    assert desk.server.finished(4.9) == []
    assert desk.server.finished(5.1) == [request]
    request.close()


def test_a_command_that_takes_long_has_no_deadline(desk: Desk) -> None:
    client, request = desk.client()
    client.send({"command": "stop"})
    desk.server.serve(request)
    assert desk.server.finished(1e6) == []


def test_a_client_that_does_not_take_its_answer_is_closed(desk: Desk) -> None:
    client, request = desk.client()
    client.send({"command": "status"})
    desk.server.serve(request)
    request.reply(pad="x" * 4_000_000)
    assert desk.server.finished(100.0) == []
    assert desk.server.finished(104.0) == []
    assert desk.server.finished(106.0) == [request]
    request.close()


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\0\0\0\2\0[]", b"\0\1\0\1\0"])
def test_a_client_that_breaks_the_framing_is_closed(desk: Desk, data: bytes) -> None:
    client, request = desk.client()
    client.sock.send(data)
    desk.server.serve(request)
    assert desk.server.finished(0.0) == [request]
    request.close()


def test_a_client_that_leaves_is_closed(desk: Desk) -> None:
    client, request = desk.client()
    client.close()
    desk.server.serve(request)
    assert desk.server.finished(0.0) == [request]
    request.reply(ok=True)
    request.close()


def test_too_many_clients_are_turned_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CLIENTS", 2)
    desk.client()
    desk.client()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(desk.server.path)
        assert desk.server.accept(0.0) is None
        assert sock.recv(1) == b""


def test_another_user_is_turned_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "peer_uid", lambda sock: os.geteuid() + 1)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(desk.server.path)
        assert desk.server.accept(0.0) is None


def test_the_peer_is_known() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert peer_uid(left) in (os.geteuid(), None)


def test_descriptors_of_a_client_are_closed_with_it(desk: Desk) -> None:
    client, request = desk.client()
    reading, writing = os.pipe()
    client.send({"command": "connections"}, [writing])
    client.send({"more": 1}, [writing])
    os.close(writing)
    desk.server.serve(request)
    desk.server.serve(request)
    assert len(request.fds) == 1
    request.close()
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_without_descriptors_a_waiting_client_is_turned_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Faulty:
        """A listening socket in a process that has no descriptor left, but for one."""

        def __init__(self, sock: socket.socket) -> None:
            self.real = sock
            self.calls = 0

        def accept(self) -> Any:
            self.calls += 1
            if self.calls == 1:
                raise OSError(24, "Too many open files")
            return self.real.accept()

        def close(self) -> None:
            self.real.close()

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(desk.server.path)
        desk.server.sock = Faulty(desk.server.sock)  # type: ignore[assignment]
        assert desk.server.accept(0.0) is None
        assert sock.recv(1) == b""


def ask(lab: Lab, **body: Any) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(lab.master.rundir.socket))
        channel = Channel(sock)
        channel.send(body)
        for _ in range(400):
            lab.turn()
            try:
                messages = channel.receive()
            except ChannelClosed:
                break
            if messages:
                return messages[0].body
    raise AssertionError("no answer")


def test_commands_reach_the_master_and_are_answered_when_they_are_done(lab: Lab) -> None:
    lab.start(worker(count=2))
    status = ask(lab, command="status")["status"]
    assert [row["state"] for row in status["processes"]] == ["ready", "ready"]
    assert ask(lab, command="reload") == {"ok": True, "workers": 2}
    assert ask(lab, command="reopen") == {"ok": True}
    assert ask(lab, command="connections")["ok"] is False


def test_a_reload_that_fails_is_answered_with_the_reason(lab: Lab) -> None:
    lab.start(worker())
    lab.broken.add(("w", 0, 2))
    answer = ask(lab, command="reload")
    assert answer["ok"] is False
    assert "no database" in answer["error"]
    assert answer["traceback"] == "Traceback"
