"""What systemd hears and hands over (P-17), with a socket of our own in systemd's place."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from .service import Service, read_line, wait_for

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., Service]

ECHO = """
import os
from longline import Worker, run

w = Worker("text://127.0.0.1:PORT", name="w", drain_timeout=2, stop_timeout=2)

@w.on_message
def said(conn, name):
    return os.environ.get(name, "absent")

run()
"""


class Manager:
    """The end of NOTIFY_SOCKET that systemd would read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.heard: list[dict[str, str]] = []

    def take(self) -> list[dict[str, str]]:
        """Read what has come, and return everything so far."""
        while True:
            try:
                text = self.sock.recv(65536).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append(dict(line.split("=", 1) for line in text.splitlines()))

    def times(self, key: str, value: str = "1") -> int:
        """Return how often `key=value` was said."""
        return sum(message.get(key) == value for message in self.take())

    def states(self) -> list[str]:
        """Return the states in order, without the watchdog's."""
        names = ("READY", "RELOADING", "STOPPING")
        return [name for message in self.take() for name in names if message.get(name) == "1"]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.sock.close()


def test_ready_reloading_stopping(service: Make, manager: Manager) -> None:
    """P-17: each once, in order; a reload carries the clock that systemd compares."""
    it = service(ECHO, NOTIFY_SOCKET=str(manager.path))
    it.start()
    wait_for(lambda: manager.states() == ["READY"])
    assert "1 workers ready" in next(m["STATUS"] for m in manager.heard if "READY" in m)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert it.run("reload").returncode == 0
    wait_for(lambda: manager.states() == ["READY", "RELOADING", "READY"])
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    reloading = next(message for message in manager.heard if "RELOADING" in message)
    assert before <= int(reloading["MONOTONIC_USEC"]) <= after
    assert it.run("stop").returncode == 0
    assert manager.states() == ["READY", "RELOADING", "READY", "STOPPING"]


def test_a_failed_reload_ends_as_ready(service: Make, manager: Manager) -> None:
    """P-17: the service serves the old code, and is not "reloading" for ever."""
    it = service(ECHO, NOTIFY_SOCKET=str(manager.path))
    it.start()
    it.write("raise RuntimeError('broken')")
    assert it.run("reload").returncode == 1
    wait_for(lambda: manager.states() == ["READY", "RELOADING", "READY"], str(manager.heard))


def test_a_failed_start_is_never_ready(service: Make, manager: Manager) -> None:
    """P-17."""
    it = service("raise RuntimeError('broken')", NOTIFY_SOCKET=str(manager.path))
    assert it.run("start").returncode == 1
    assert "READY" not in manager.states()


def test_the_watchdog_is_fed_by_the_masters_loop(service: Make, manager: Manager) -> None:
    """P-17: at half of the time that systemd allows; a stopped master is silent."""
    it = service(ECHO, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000")
    it.start()
    wait_for(lambda: manager.times("WATCHDOG") >= 4)


def test_a_watchdog_of_another_process_is_not_ours(service: Make, manager: Manager) -> None:
    """P-17: sd_watchdog_enabled(3)."""
    it = service(ECHO, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="1000", WATCHDOG_PID="1")
    it.start()
    assert it.run("stop").returncode == 0
    assert manager.states() == ["READY", "STOPPING"]
    assert manager.times("WATCHDOG") == 0


@pytest.mark.parametrize("name", ["NOTIFY_SOCKET", "WATCHDOG_USEC"])
def test_workers_do_not_inherit_systemds_variables(
    service: Make, manager: Manager, name: str
) -> None:
    """P-17: only the master speaks for the service."""
    it = service(ECHO, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="9000000")
    it.start()
    assert it.ask(name) == "absent"


def test_a_manager_that_reads_nothing_stops_nobody(service: Make, tmp_path: Path) -> None:
    """P-17: a full or missing socket is no reason not to serve."""
    it = service(ECHO, NOTIFY_SOCKET=str(tmp_path / "nobody"), WATCHDOG_USEC="20000")
    it.start()
    assert it.ask("X") == "absent"


# -- socket activation

LAUNCH = """
import os, sys
count = int(sys.argv[1])
fds = [int(fd) for fd in sys.argv[3:3 + count]]
high = [os.dup(fd) for fd in fds]
import fcntl
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 50) for fd in high]
for target, fd in enumerate(high, 3):
    os.dup2(fd, target, inheritable=True)
os.environ["LISTEN_FDS"] = str(count)
pid = sys.argv[2]
os.environ["LISTEN_PID"] = str(os.getpid()) if pid == "own" else pid
os.execv(sys.argv[3 + count], sys.argv[3 + count:])
"""


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)
    return sock


def activate(it: Service, sockets: list[socket.socket], names: str, pid: str = "own") -> None:
    """Start with sockets in the places 3, 4, ... as systemd does."""
    it.env["LISTEN_FDNAMES"] = names
    fds = [str(sock.fileno()) for sock in sockets]
    command = [sys.executable, "-c", LAUNCH, str(len(sockets)), pid, *fds]
    with it.output.open("w") as output:
        it.process = subprocess.Popen(
            [*command, *it.command("start", str(it.script))],
            env=it.env, cwd=it.directory, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, start_new_session=True,
            pass_fds=[sock.fileno() for sock in sockets],
        )  # fmt: skip
    process = it.process
    wait_for(lambda: "Ctrl+C stops" in it.text() or process.poll() is not None, "the start")
    assert process.poll() is None, it.text()


def test_sockets_are_given_by_name_and_by_address(service: Make) -> None:
    """P-17: LISTEN_FDNAMES names the Worker; else the address does."""
    named, bound = listening(), listening()
    source = (
        ECHO.replace("run()", "").replace("PORT", "PORT2")
        + f"""
v = Worker("text://127.0.0.1:{bound.getsockname()[1]}", name="v", count=2)
v.on_message = lambda conn, line: line
run()
"""
    )
    it = service(source)
    with named, bound:
        activate(it, [named, bound], "w:other")
        # The port that the script names was not needed.
        with pytest.raises(ConnectionRefusedError):
            it.connect(it.ports["PORT2"])
        assert it.ask("LISTEN_FDS", named.getsockname()[1]) == "absent"
        assert it.ask("LISTEN_FDNAMES", named.getsockname()[1]) == "absent"
        assert it.ask("hello", bound.getsockname()[1]) == "hello"
        # They outlive a reload and the service: they are systemd's.
        assert it.run("reload").returncode == 0
        assert it.ask("LISTEN_PID", named.getsockname()[1]) == "absent"
        assert it.run("stop").returncode == 0
        with socket.create_connection(named.getsockname(), timeout=5):
            named.accept()[0].close()


def test_connections_that_came_before_the_start_are_served(service: Make) -> None:
    """P-17: what waits in the socket is why systemd starts us."""
    sock = listening()
    it = service(ECHO)
    with sock, socket.create_connection(sock.getsockname(), timeout=20) as early:
        early.sendall(b"LISTEN_FDS\n")
        activate(it, [sock], "w")
        assert read_line(early) == "absent"
        assert it.run("stop").returncode == 0


def test_sockets_for_another_process_are_left_alone(service: Make) -> None:
    """P-17: LISTEN_PID."""
    sock = listening()
    it = service(ECHO)
    with sock:
        activate(it, [sock], "w", pid="1")
        assert it.ask("LISTEN_FDS") == "absent"
        assert it.run("stop").returncode == 0


def test_a_descriptor_that_is_no_listening_socket_refuses_the_start(service: Make) -> None:
    """P-17: one clear line."""
    left, right = socket.socketpair()
    it = service(ECHO)
    with left, right, pytest.raises(AssertionError, match="socket activation"):
        activate(it, [left], "w")


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is missing"
)
def test_under_systemds_own_launcher(service: Make) -> None:
    """P-17: `systemd-socket-activate` starts the service at the first connection."""
    it = service(ECHO)
    port = it.ports["PORT2"]
    # `--setenv` of the variables that find this very checkout: the launcher clears the rest.
    kept = [f"--setenv={name}={value}" for name, value in it.env.items()
            if name.startswith(("PYTHON", "LONGLINE", "PATH", "HOME"))]  # fmt: skip
    with it.output.open("w") as output:
        it.process = subprocess.Popen(
            ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=w", *kept,
             *it.command("start", str(it.script))],
            env=it.env, cwd=it.directory, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip

    def listens() -> bool:
        return f"Listening on 127.0.0.1:{port}" in it.text()

    wait_for(listens, it.text())
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"LISTEN_FDS\n")
        assert read_line(sock) == "absent"
    assert it.run("stop").returncode == 0
