"""Fault drills of one machine: what breaks, under load, and what must not notice.

E-3 is in test_lending.py, E-17 in test_reload.py. Each drill has a short form that always runs;
the full length is marked `long`.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .load import Load
from .service import Service, alive, read_line, signalled, wait_for
from .test_reload import WEB, kill_one
from .test_supervision import cpu_seconds, descriptors, family

Make = Callable[..., Service]

ECHO = """
import os, time
from longline import Timer, Worker, run

echo = Worker("text://127.0.0.1:PORT", name="echo", count=2, stop_timeout=1)

@echo.on_message
def answer(conn, text):
    return f"{text} {os.getpid()}"

MORE
run()
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def long(*values: object) -> object:
    """Return the parameters of a drill's full length."""
    return pytest.param(*values, marks=[pytest.mark.long, pytest.mark.timeout(600)], id="long")


def seconds(number: float) -> None:
    """Let a drill go on for its time."""
    end = time.monotonic() + number
    wait_for(lambda: time.monotonic() > end, f"{number} seconds", timeout=number + 5)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process hold some thousand sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 30_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.drill("E-1")
@pytest.mark.parametrize("kills", [pytest.param(4, id="short"), long(20)])
def test_random_workers_are_killed(service: Make, kills: int) -> None:
    """E-1: only what the killed process had in work fails; back to full count."""
    it = service(WEB.replace("count=2", "count=3"))
    it.start()
    with Load(it.port) as load:
        for _ in range(kills):
            kill_one(it, load, random.randrange(3))
            seconds(0.5 if kills < 10 else 1)
    assert len(it.pids("web")) == 3
    assert load.answered > 100


@pytest.mark.drill("E-2")
def test_the_master_is_killed_under_load(service: Make) -> None:
    """E-2: children gone within 5 s, the port free, the next start succeeds."""
    it = service(WEB)
    it.start()
    members = family(it.master_pid)
    with Load(it.port) as load:
        wait_for(lambda: load.answered > 50, "load")
        os.kill(it.master_pid, signal.SIGKILL)
        wait_for(lambda: not any(map(alive, members)), "the end of the children", timeout=5)
    assert it.process is not None
    it.process.wait(5)
    it.start()
    with Load(it.port) as load:
        wait_for(lambda: load.answered > 50, "answers again")
    assert not load.failures, load.report()


@pytest.mark.drill("E-4")
@pytest.mark.parametrize("stopped", [pytest.param(5, id="short"), long(30)])
def test_the_master_is_stopped(service: Make, stopped: float) -> None:
    """E-4: traffic does not need the master; nobody is taken for hung afterwards."""
    it = service(WEB.replace("stop_timeout=2", "stop_timeout=2, hang_timeout=2"))
    it.start()
    master, before = it.master_pid, it.pids()
    with Load(it.port) as load:
        with signalled(master, signal.SIGSTOP, signal.SIGCONT):
            seconds(stopped)
        seconds(3)
        assert it.pids() == before
    assert not load.failures, load.report()
    assert it.status()["workers"][0]["exits"] == {}
    assert {row["state"] for row in it.processes()} == {"ready"}


@pytest.mark.drill("E-5")
@pytest.mark.parametrize("reloads", [pytest.param(12, id="short"), long(100)])
def test_many_reloads_leak_nothing(service: Make, reloads: int) -> None:
    """E-5: no failed request; memory and descriptors of the master stay flat."""
    it = service(WEB)
    it.start()
    master = it.master_pid
    with Load(it.port) as load:
        for turn in range(reloads):
            assert it.run("reload").returncode == 0
            if turn == 4:
                wait_for(lambda: len(it.processes()) == 2, "the end of the old processes")
                before, memory = len(descriptors(master)), resident(master)
    assert not load.failures, load.report()
    wait_for(lambda: len(it.processes()) == 2, "the end of the old processes")
    wait_for(lambda: len(descriptors(master)) <= before, "as many descriptors as before")
    assert resident(master) < memory * 1.05 + 256 * 1024
    wait_for(lambda: len(family(master)) == 4, "master, template and two workers alone")


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.drill("E-6")
@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.skipif(not shutil.which("prlimit"), reason="needs prlimit")
@pytest.mark.parametrize("hogged", [0, 200], ids=["own-limit", "exhausted"])
def test_descriptors_run_out(service: Make, hogged: int) -> None:
    """E-6, C-5, C-6: no spin, no crash, peers are served that had a place, and later the rest.

    With `hogged` descriptors taken by the application the limit of connections that we keep
    ourselves does not suffice, and accept(2) fails.
    """
    hog = f"""
@echo.on_start
def hog(worker):
    worker.files = [os.open("/dev/null", os.O_RDONLY) for _ in range({hogged})]
"""
    it = service(ECHO.replace("count=2", "count=1").replace("MORE", hog))
    prefix = ("prlimit", "--nofile=256:256")
    process = it.popen(prefix=prefix)
    wait_for(lambda: "Ctrl+C stops" in it.text() or process.poll() is not None, "the start")
    [worker] = it.pids()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(it.connect(timeout=15))
        assert ask(first, "a") == f"a {worker}"
        for _ in range(200):
            stack.enter_context(it.connect(timeout=15))
        wait_for(lambda: row(it)["connections"] >= (20 if hogged else 128), "a full process")
        used, began = cpu_seconds(worker), time.monotonic()
        seconds(3)
        assert cpu_seconds(worker) - used < 0.2 * (time.monotonic() - began)
        assert ask(first, "b") == f"b {worker}"
        assert row(it)["descriptor_limit"] == 256
    wait_for(lambda: row(it)["connections"] < 20, "the clients are gone")
    assert it.ask("c") == f"c {worker}"
    assert it.pids() == [worker]
    assert it.text().count("no descriptor is left") == (1 if hogged else 0)


def row(it: Service) -> dict[str, int]:
    """Return the only process's status row."""
    return it.processes()[0]


def ask(sock: socket.socket, line: str) -> str:
    """Send one line and return the answered one."""
    sock.sendall(line.encode() + b"\n")
    return read_line(sock)


@pytest.mark.drill("E-8")
def test_a_storm_of_dying_workers(service: Make) -> None:
    """E-8: all processes end at once, again and again: back-off, a calm master, a message."""
    more = """
bad = Worker(None, name="bad", count=4)

@bad.on_start
def soon(worker):
    with open("tries", "a") as file:
        file.write("x")
    if os.path.exists("broken"):
        Timer.after(0.001, os._exit, 5)
"""
    it = service(ECHO.replace("MORE", more))
    it.start()
    master = it.master_pid
    (it.directory / "broken").touch()
    for pid in it.pids("bad"):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "next try in 0.8 s" in it.text(), "the back-off")
    tries, used, began = (it.directory / "tries"), cpu_seconds(master), time.monotonic()
    before = len(tries.read_text())
    seconds(4)
    assert len(tries.read_text()) - before <= 12
    assert cpu_seconds(master) - used < 0.05 * (time.monotonic() - began) + 0.05
    assert "ended: exit 5, next try in" in it.text()
    assert it.ask("x").startswith("x ")


@as_root
@pytest.mark.drill("E-13")
def test_the_disk_of_the_log_is_full(service: Make) -> None:
    """E-13: the service goes on, and counts the lines that it could not write."""
    chatty = """
import logging

@echo.on_connect
def note(conn):
    for _ in range(50):
        logging.getLogger("app").warning("x" * 500)
"""
    it = service(ECHO.replace("MORE", chatty))
    disk = it.directory / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        it.start_daemon("--log", str(disk / "app.log"))
        before = it.pids()
        for number in range(30):
            assert it.ask(str(number)).startswith(f"{number} ")
        wait_for(lambda: it.status()["service"]["log_lost"] > 0, "lost lines in status")
        assert it.pids() == before
        assert it.run("reload").returncode == 0
        assert it.ask("x").startswith("x ")
        assert it.run("stop").returncode == 0
    finally:
        it.run("stop")
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.drill("E-16")
@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("burst", [pytest.param(1500, id="short"), long(10_000)])
def test_a_burst_of_connections(service: Make, burst: int) -> None:
    """E-16: nobody is refused, everybody is answered, and both processes take their share."""
    it = service(ECHO.replace("count=2", "count=2, backlog=1024").replace("MORE", ""))
    it.start()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connecting(it.port)) for _ in range(burst)]
        counts: dict[str, int] = {}
        for sock in socks:
            sock.settimeout(30)
            pid = ask_slowly(sock, "x").split()[1]
            counts[pid] = counts.get(pid, 0) + 1
    assert sum(counts.values()) == burst
    assert len(counts) == 2
    assert max(counts.values()) <= 2 * min(counts.values())


def connecting(port: int) -> socket.socket:
    """Begin a connection without waiting for it."""
    sock = socket.socket()
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(("127.0.0.1", port))
    return sock


def ask_slowly(sock: socket.socket, line: str) -> str:
    """Ask on a connection that may still be on its way."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert error == 0, os.strerror(error)
    return ask(sock, line)


@pytest.mark.drill("E-18")
@pytest.mark.parametrize("blocked", [pytest.param(4, id="short"), long(10)])
def test_a_blocked_loop_makes_only_its_clients_wait(service: Make, blocked: int) -> None:
    """E-18: heartbeats that could not be read are no missed heartbeats."""
    from websockets.sync.client import connect

    it = service(f"""
import os, time
from longline import Worker, run

chat = Worker("websocket://127.0.0.1:PORT", name="chat", count=2,
              ping_interval=1, ping_timeout=1, stop_timeout=1, hang_timeout=60)

@chat.on_message
def said(conn, text):
    if text == "block":
        time.sleep({blocked})
    return f"{{text}} {{os.getpid()}}"

run()
""")
    it.start()
    with contextlib.ExitStack() as stack:
        url = f"ws://127.0.0.1:{it.port}/"
        peers = [
            stack.enter_context(connect(url, ping_interval=None, proxy=None)) for _ in range(12)
        ]
        where = [echoed(peer, "who").split()[1] for peer in peers]
        assert len(set(where)) == 2
        peers[0].send("block")
        others = [peer for peer, pid in zip(peers, where, strict=True) if pid != where[0]]
        began = time.monotonic()
        for _ in range(5):
            for peer in others:
                echoed(peer, "on")
        assert time.monotonic() - began < blocked
        assert peers[0].recv(timeout=30) == f"block {where[0]}"
        seconds(3)
        assert [echoed(peer, "after").split()[1] for peer in peers] == where
    assert it.status()["workers"][0]["exits"] == {}


def echoed(peer: object, text: str) -> str:
    """Send a message and return the answer."""
    peer.send(text)  # type: ignore[attr-defined]
    answer: str = peer.recv(timeout=30)  # type: ignore[attr-defined]
    assert answer.startswith(text)
    return answer
