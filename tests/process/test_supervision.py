"""Supervision: workers that die, hang or are stopped, and a master that dies."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .service import Service, alive, read_line, wait_for

if TYPE_CHECKING:
    import socket

Make = Callable[..., Service]

ECHO = """
import os, sys, time
from longline import Worker, run

echo = Worker("text://127.0.0.1:PORT", name="echo", count=2, stop_timeout=2, hang_timeout=2)

@echo.on_message
def answer(conn, text):
    if text == "raise":
        raise RuntimeError("on purpose")
    if text == "block":
        while True:
            time.sleep(0.01)
    if text == "exit":
        os._exit(9)
    return f"{text} {os.getpid()} {echo.id}"

MORE
run()
"""


def echo(more: str = "") -> str:
    """Return the echo service's script with further lines before `run()`."""
    return ECHO.replace("MORE", more)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(master: int) -> set[int]:
    """Return every living process of a service, the master included, its guardian not."""
    found = {master}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                guardian = (entry / "cmdline").read_text().startswith("longline: guardian")
                if int(fields[1]) == master and fields[0] not in "ZX" and not guardian:
                    found.add(int(entry.name))
    return found


def say(sock: socket.socket, line: str) -> str:
    """Send one line on an open connection and return the answered one."""
    sock.sendall(line.encode() + b"\n")
    return read_line(sock)


# -- workers that die


def test_a_killed_worker_is_replaced_in_its_slot(service: Make) -> None:
    """P-6, behaviour 3: the same slot, the exit counted once, siblings' connections untouched."""
    it = service(echo())
    it.start()
    socks = {}
    while len(socks) < 2:
        sock = it.connect()
        _, pid, slot = say(sock, "who").split()
        if int(slot) in socks:
            sock.close()
        else:
            socks[int(slot)] = (int(pid), sock)
    victim, _ = socks[1]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: it.pids()[1:] not in ([], [victim]), "the replacement")
    wait_for(lambda: {row["state"] for row in it.processes()} == {"ready"}, "its readiness")
    assert it.pids()[0] == socks[0][0]
    assert it.status()["workers"][0]["exits"] == {"signal 9": 1}
    assert say(socks[0][1], "on") == f"on {socks[0][0]} 0"
    assert socks[1][1].recv(1) == b""
    for _, sock in socks.values():
        sock.close()


def test_a_restart_refuses_no_connection(service: Make) -> None:
    """Behaviour 10: the port of a Worker with one process outlives the process."""
    it = service(echo().replace("count=2", "count=1"))
    it.start()
    for _ in range(5):
        victim = it.pids()[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda pid=victim: not alive(pid), "its death")
        text, pid, slot = it.ask("next").split()
        assert (text, slot) == ("next", "0")
        assert int(pid) != victim


def test_a_handler_that_raises_ends_its_connection_only(service: Make) -> None:
    """Behaviour 4, C-1: logged with its traceback; the process and other peers go on."""
    it = service(echo().replace("count=2", "count=1"))
    it.start()
    before = it.pids()
    with it.connect() as other:
        assert say(other, "a").startswith("a ")
        for _ in range(20):
            assert it.ask("raise") == ""
        assert say(other, "b").startswith("b ")
    assert it.pids() == before
    assert "RuntimeError: on purpose" in it.text()
    assert "Traceback" in it.text()


def test_a_crash_loop_backs_off_and_leaves_other_workers_alone(service: Make) -> None:
    """P-1, E-8: crash-loop in status, few forks, a calm master, the reason in the log."""
    more = """
bad = Worker(None, name="bad")

@bad.on_start
def dies(worker):
    with open("tries", "a") as file:
        file.write("x")
    if os.path.exists("broken"):
        print("the disk is on fire", flush=True)
        os._exit(7)
"""
    it = service(echo(more))
    it.start()
    (it.directory / "broken").touch()
    os.kill(it.pids("bad")[0], signal.SIGKILL)
    wait_for(lambda: worker(it, "bad")["state"] == "crash-loop", "the crash loop")
    wait_for(lambda: "next try in 0.8 s" in it.text(), "the back-off")
    master = it.master_pid
    tries, used, began = len((it.directory / "tries").read_text()), cpu_seconds(master), now()
    wait_for(lambda: now() - began > 3, "three seconds", timeout=10)
    assert len((it.directory / "tries").read_text()) - tries <= 4
    assert cpu_seconds(master) - used < 0.05 * (now() - began) + 0.05
    assert worker(it, "bad")["exits"]["exit 7"] >= 5
    assert worker(it, "echo")["state"] == "ok"
    assert it.ask("still").startswith("still ")
    assert "ended: exit 7" in it.text()
    (it.directory / "broken").unlink()
    wait_for(lambda: worker(it, "bad")["ready"] == 1, "the recovery")


def now() -> float:
    """Return the monotonic time."""
    return time.monotonic()


def worker(it: Service, name: str) -> dict[str, object]:
    """Return the status row of one Worker."""
    return next(row for row in it.status()["workers"] if row["name"] == name)


def test_fail_fast_ends_the_service_in_a_crash_loop(service: Make) -> None:
    """P-1: `--fail-fast` leaves the restart to whoever started us, with an error code."""
    it = service(echo())
    it.start("--fail-fast")
    assert it.process is not None
    while it.process.poll() is None and "crash loop" not in it.text():
        with contextlib.suppress(OSError):
            it.ask("exit")
    assert it.process.wait(15) == 1


def test_kills_leave_nothing_behind(service: Make) -> None:
    """P-6: after kills counts are as configured, without zombies and leaked descriptors."""
    it = service(echo())
    it.start()
    master = it.master_pid
    before = len(descriptors(master))
    for turn in range(7):
        victim = wait_for(lambda: len(it.pids()) == 2 and it.pids(), "two workers")[turn % 2]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda pid=victim: not Path(f"/proc/{pid}").exists(), "reaped, too")
    wait_for(lambda: worker(it, "echo")["ready"] == 2, "both workers")
    assert len(it.processes()) == 2
    assert not zombies(master)
    wait_for(lambda: len(descriptors(master)) == before, "no leak")


def test_a_killed_template_is_made_again(service: Make) -> None:
    """A service that lost its template can still replace workers and reload; nobody spins."""
    it = service(echo())
    it.start()
    master = it.master_pid
    [template] = family(master) - {master} - set(it.pids())
    victim = it.pids()[0]
    os.kill(template, signal.SIGKILL)
    os.kill(victim, signal.SIGKILL)
    used, began = cpu_seconds(master), now()
    wait_for(lambda: victim not in it.pids() and worker(it, "echo")["ready"] == 2, "both workers")
    assert cpu_seconds(master) - used < 0.2 * (now() - began) + 0.1
    assert it.run("reload").returncode == 0


# -- workers that hang, are stopped, or are slow


def test_a_hung_worker_is_killed_with_its_stack_in_the_log(service: Make) -> None:
    """P-3: a loop that is silent for hang_timeout while it could run."""
    it = service(echo())
    it.start()
    with it.connect() as sock:
        _, pid, slot = say(sock, "who").split()
        sock.sendall(b"block\n")
        wait_for(lambda: int(pid) not in it.pids(), "the kill")
    wait_for(lambda: worker(it, "echo")["ready"] == 2, "the replacement")
    assert f"echo#{slot} (pid {pid}) is hung" in it.text()
    assert re.search(r'app.py", line \d+ in answer', it.text()), it.text()
    assert worker(it, "echo")["exits"] == {"signal 6": 1}


def test_a_slow_start_is_not_hung(service: Make) -> None:
    """P-3: hang_timeout does not count before a worker is ready."""
    slow = "@echo.on_start\ndef warm(worker):\n    time.sleep(5)"
    it = service(
        echo(slow).replace("count=2", "count=1").replace("hang_timeout=2", "hang_timeout=1")
    )
    it.start()
    assert "hung" not in it.text()
    assert worker(it, "echo")["exits"] == {}


def blocking(seconds: float) -> str:
    """Return the script with a "block" that ends, far below the hang limit."""
    text = echo().replace("hang_timeout=2", "hang_timeout=30")
    return text.replace("while True:\n            time.sleep(0.01)", f"time.sleep({seconds})")


def test_a_blocking_handler_shorter_than_the_limit_only_delays(service: Make) -> None:
    """P-3, E-18: busy in status, not killed, ready afterwards."""
    it = service(blocking(5))
    it.start()
    before = it.pids()
    with it.connect(timeout=20) as sock:
        assert say(sock, "x").startswith("x ")
        sock.sendall(b"block\n")
        wait_for(lambda: "busy" in {row["state"] for row in it.processes()}, "busy in status")
        assert read_line(sock).startswith("block ")
    wait_for(lambda: {row["state"] for row in it.processes()} == {"ready"}, "ready again")
    assert it.pids() == before


# -- the master dies, or is one among many


def test_a_killed_master_leaves_no_orphan_and_does_not_block_the_next_start(
    service: Make,
) -> None:
    """P-5, E-2: children end by themselves, also one that never returns to its loop."""
    it = service(echo().replace("hang_timeout=2", "hang_timeout=60"))
    it.start()
    master = it.master_pid
    members = family(master)
    assert len(members) == 4
    with it.connect() as sock, it.connect() as idle:
        assert say(idle, "x").startswith("x ")
        assert say(sock, "x").startswith("x ")
        sock.sendall(b"block\n")
        os.kill(master, signal.SIGKILL)
        wait_for(lambda: not any(map(alive, members)), "the end of all", timeout=8)
    assert it.process is not None
    it.process.wait(5)
    it.start()
    assert it.ask("again").startswith("again ")


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare"
)
def test_it_works_as_pid_1(service: Make) -> None:
    """P-7: unknown orphans are reaped and never taken for workers; SIGTERM stops in order."""
    more = """
import subprocess

@echo.on_start
def leave_orphans(worker):
    # Each shell ends at once; what it left behind becomes an orphan of PID 1.
    for code in (0, 9, 77):
        subprocess.run(["/bin/sh", "-c", f"(sleep 0.2; exit {code}) &"], check=True)
"""
    it = service(echo(more))
    for name in ("HOME", "TERM"):
        it.env.pop(name, None)
    prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    process = it.popen(prefix=prefix)
    wait_for(lambda: "Ctrl+C stops" in it.text() or process.poll() is not None, "the start")
    assert it.master_pid == 1
    outer = inner_pid(process.pid)
    wait_for(lambda: len(family(outer)) == 4, "the orphans are reaped")
    assert not zombies(outer)
    assert worker(it, "echo")["exits"] == {}
    assert it.ask("x").startswith("x ")
    os.kill(outer, signal.SIGTERM)
    assert process.wait(10) == 0


def inner_pid(unshare: int) -> int:
    """Return the pid, as seen here, of the process that `unshare` forked."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
    return int(children[0])


def zombies(parent: int) -> list[int]:
    """Return the dead children that a process has not reaped."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if not alive(int(pid))]


def test_only_processes_of_our_own_are_ever_signalled(service: Make) -> None:
    """P-10: a pid file that names a stranger harms nobody."""
    it = service(echo())
    it.start()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        [pidfile] = it.run_dir.glob("*/control/*pid*")
        text = pidfile.read_text()
        pidfile.write_text(text.replace(str(it.master_pid), str(stranger.pid), 1))
        assert it.run("stop").returncode in (0, 1)
        assert stranger.poll() is None
        assert stranger.stdin is not None
        stranger.stdin.write(b"\n")
        stranger.stdin.close()
        assert stranger.wait(10) == 0


# -- what a worker has in its hands


def test_a_worker_has_only_the_descriptors_that_it_needs(service: Make) -> None:
    """P-11: its own listener, its channel, its log, the loop's own, and nothing of siblings."""
    other = 'other = Worker("text://127.0.0.1:PORT2", name="other", loop="asyncio")'
    it = service(echo(other).replace("count=2", 'count=2, loop="asyncio"'))
    it.start()
    assert len(it.processes()) == 3
    for row in it.processes():
        links = descriptors(row["pid"])
        kinds = Counter(link.partition(":")[0] for link in links.values())
        assert kinds == {
            "/dev/null": 2,  # standard input; the reserve for accepting when none is left
            str(it.output): 2,  # standard output and error
            "pipe": 1,  # the log
            "anon_inode": 1,  # epoll
            "socket": 4,  # channel, listener, the loop's wake-up pair
        }, links
        listening = [link for link in links.values() if is_listening(row["pid"], link)]
        assert len(listening) == 1, links


def descriptors(pid: int) -> dict[int, str]:
    """Return what each descriptor of a process is."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(entry.name)] = os.readlink(entry)
    return found


def is_listening(pid: int, link: str) -> bool:
    """Whether a `socket:[inode]` is a listening TCP socket."""
    inode = link.partition("[")[2].rstrip("]")
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[9] == inode and row.split()[3] == "0A" for row in rows)


def test_children_do_not_share_their_randomness(service: Make) -> None:
    """P-11: what the template had seeded differs in every process."""
    more = """
import random
random.random()

@echo.on_start
def draw(worker):
    with open("drawn", "a") as file:
        file.write(f"{random.random()} {random.getrandbits(64)}\\n")
"""
    it = service(echo(more).replace("count=2", "count=4"))
    it.start()
    drawn = (it.directory / "drawn").read_text().splitlines()
    assert len(set(drawn)) == len(drawn) == 4
