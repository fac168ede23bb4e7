"""P-17: the two protocols of systemd, spoken with sockets of our own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from longline.errors import StartError
from longline.supervisor.systemd import Notifier, take_listen_fds


@pytest.fixture
def manager(tmp_path):
    """The datagram socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def notifier(manager):
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    yield notifier
    notifier.close()


class TestNotifier:
    def test_p17_ready_with_a_status(self, manager, notifier):
        notifier.ready("4 workers")
        assert manager.recv(4096) == b"READY=1\nSTATUS=4 workers"

    def test_p17_reloading_carries_the_monotonic_time(self, manager, notifier):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        lines = manager.recv(4096).decode().split("\n")
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert lines[0] == "RELOADING=1"
        assert before <= int(lines[1].removeprefix("MONOTONIC_USEC=")) <= after

    @pytest.mark.parametrize(
        ("call", "expected"),
        [
            (lambda n: n.stopping(), b"STOPPING=1"),
            (lambda n: n.stopping("bye"), b"STOPPING=1\nSTATUS=bye"),
            (lambda n: n.watchdog(), b"WATCHDOG=1"),
            (lambda n: n.status("busy"), b"STATUS=busy"),
            (lambda n: n.extend(2.5), b"EXTEND_TIMEOUT_USEC=2500000"),
        ],
    )
    def test_p17_each_message(self, manager, notifier, call, expected):
        call(notifier)
        assert manager.recv(4096) == expected

    def test_a_status_cannot_smuggle_in_an_assignment(self, manager, notifier):
        notifier.status("fine\nMAINPID=1\rX=2")
        assert manager.recv(4096) == b"STATUS=fine MAINPID=1 X=2"

    def test_an_empty_status_says_nothing(self, manager, notifier):
        notifier.status("")
        with pytest.raises(BlockingIOError):
            manager.recv(4096)

    @pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
    def test_an_abstract_name(self):
        name = f"longline-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name)
            manager.setblocking(False)
            notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
            notifier.watchdog()
            notifier.close()
            assert manager.recv(4096) == b"WATCHDOG=1"

    @pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": ""}])
    def test_without_a_socket_nothing_happens(self, environ):
        notifier = Notifier(environ)
        notifier.ready("x")
        assert not notifier.enabled
        assert notifier.failures == 0

    def test_failures_are_counted_never_raised(self, tmp_path):
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
        notifier.ready()
        notifier.watchdog()
        notifier.close()
        assert notifier.enabled
        assert notifier.failures == 2

    def test_a_manager_that_does_not_read_is_never_waited_for(self, manager, notifier):
        for _ in range(5000):
            notifier.watchdog()
        assert notifier.failures > 0
        assert manager.recv(4096) == b"WATCHDOG=1"

    def test_the_variables_are_taken_so_that_no_child_speaks(self, tmp_path):
        environ = {"NOTIFY_SOCKET": str(tmp_path / "x"), "WATCHDOG_USEC": "1", "HOME": "/"}
        notifier = Notifier(environ)
        assert environ == {"HOME": "/"}
        assert set(notifier.variables) == {"NOTIFY_SOCKET", "WATCHDOG_USEC"}

    @pytest.mark.parametrize(
        ("environ", "interval"),
        [
            ({"WATCHDOG_USEC": "3000000"}, 1.5),
            ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
            ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "x"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "-5"}, None),
            ({"WATCHDOG_USEC": "\u0663"}, None),
            ({}, None),
        ],
    )
    def test_p17_the_watchdog_is_fed_at_half_its_time(self, environ, interval):
        assert Notifier(environ).watchdog_interval == interval


ACTIVATED = """
import json, os, socket, sys
from longline.errors import StartError
from longline.supervisor.systemd import take_listen_fds
pid, names, *kinds = sys.argv[1:]
opened = []
for kind in kinds:
    if kind == "pipe":
        opened.append(os.pipe()[0])
        continue
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    if kind == "listening":
        sock.listen()
    opened.append(sock.detach())
high = [os.dup2(fd, 100 + place) for place, fd in enumerate(opened)]
for place, fd in enumerate(high):
    os.dup2(fd, 3 + place)
environ = {"LISTEN_PID": str(os.getpid()) if pid == "own" else pid, "LISTEN_FDS": str(len(kinds)),
           "LISTEN_FDNAMES": names, "LISTEN_PIDFDID": "1", "HOME": "/"}
try:
    taken = take_listen_fds(environ)
    print(json.dumps([[n, s.fileno(), s.getblocking(), os.get_inheritable(s.fileno())]
                      for n, s in taken]), sorted(environ))
except StartError as error:
    print("refused:", error, sorted(environ))
os._exit(sys.stdout.flush() or 0)
"""


def activate(pid: str, names: str, *kinds: str) -> str:
    command = [sys.executable, "-c", ACTIVATED, pid, names, *kinds]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class TestListenFds:
    def test_p17_sockets_come_with_their_names(self):
        assert activate("own", "web:dns", "listening", "udp") == (
            '[["web", 3, false, false], ["dns", 4, false, false]] [\'HOME\']'
        )

    def test_p17_names_that_do_not_fit_are_dropped(self):
        assert activate("own", "web", "listening", "listening").startswith('[["", 3')

    def test_p17_sockets_of_another_process_are_left_alone(self):
        """The variables go all the same: they are no child's either."""
        assert activate("1", "web", "listening") == "[] ['HOME']"

    def test_no_variables_no_sockets(self):
        assert take_listen_fds({}) == []
        assert take_listen_fds({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}) == []

    def test_a_descriptor_that_is_no_socket_is_refused(self):
        assert "3 of socket activation is no socket" in activate("own", "web", "pipe")

    def test_a_connection_is_refused_with_the_setting_to_change(self):
        assert "Accept=no" in activate("own", "web", "connected")

    def test_an_absurd_count_is_refused(self):
        with pytest.raises(StartError, match="announces"):
            take_listen_fds({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "99999"})
