"""Lending: connections spread over the slots, and no client waits on a dead one."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from .service import Service, read_line, signalled, wait_for

if TYPE_CHECKING:
    import socket

Make = Callable[..., Service]

ECHO = """
import os, time
from longline import Worker, run

echo = Worker("text://127.0.0.1:PORT", name="echo", count=2, hang_timeout=60, stop_timeout=1)

@echo.on_message
def answer(conn, text):
    if text == "block":
        while not os.path.exists("go"):
            time.sleep(0.01)
    return f"{text} {os.getpid()}"

MORE
run()
"""


def echo(count: int = 2, more: str = "") -> str:
    """Return the echo service's script."""
    return ECHO.replace("count=2", f"count={count}").replace("MORE", more)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process hold some thousand sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def connected(it: Service, number: int) -> Iterator[list[socket.socket]]:
    """Open many connections, closed at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(it.connect(timeout=15)) for _ in range(number)]


def answers(it: Service, number: int = 40) -> list[int]:
    """Ask on new connections that are all open at once; return who answered."""
    with connected(it, number) as socks:
        for sock in socks:
            sock.sendall(b"who\n")
        return [int(read_line(sock).split()[1]) for sock in socks]


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_connections_spread_evenly(service: Make) -> None:
    """Over 4 slots the busiest has at most 1.5 times as many as the quietest."""
    it = service(echo(4))
    it.start()
    with connected(it, 1000):
        rows = wait_for(
            lambda: (
                (rows := it.processes())
                and sum(row["connections"] for row in rows) == 1000
                and rows
            ),
            "all connections in status",
        )
        counts = [row["connections"] for row in rows]
        assert len(counts) == 4
        assert max(counts) <= 1.5 * min(counts), counts


def test_a_stopped_worker_is_shown_spared_and_stood_in_for(service: Make) -> None:
    """E-3, short: SIGSTOP for longer than hang_timeout."""
    it = service(echo().replace("hang_timeout=60", "hang_timeout=2"))
    it.start()
    before = it.pids()
    victim, sibling = before
    with it.connect() as kept, signalled(victim, signal.SIGSTOP, signal.SIGCONT):
        assert set(answers(it)) == {sibling}
        assert state(it, victim) == "stopped"
        beats(it, 4)
        assert state(it, victim) == "stopped"
        assert set(answers(it)) == {sibling}
        kept.sendall(b"x\n")
    wait_for(lambda: state(it, victim) == "ready", "ready again")
    wait_for(lambda: victim in answers(it), "the slot's own process takes its connections")
    assert it.pids() == before
    assert it.status()["workers"][0]["exits"] == {}


@pytest.mark.long
@pytest.mark.drill("E-3")
@pytest.mark.timeout(200)
def test_a_worker_is_stopped_for_ninety_seconds(service: Make) -> None:
    """E-3, long."""
    it = service(echo())
    it.start()
    before = victim, sibling = it.pids()
    with signalled(victim, signal.SIGSTOP, signal.SIGCONT):
        for _ in range(9):
            beats(it, 10)
            assert set(answers(it)) == {sibling}
            assert state(it, victim) == "stopped"
    wait_for(lambda: victim in answers(it), "works again")
    assert it.pids() == list(before)


def state(it: Service, pid: int) -> str:
    """Return what status says of one process."""
    return next((row["state"] for row in it.processes() if row["pid"] == pid), "gone")


def beats(it: Service, number: int) -> None:
    """Wait for some seconds of the service's own clock."""
    until = it.status()["service"]["uptime"] + number
    wait_for(lambda: it.status()["service"]["uptime"] > until, f"{number} seconds")


def test_a_busy_slot_lends_its_queue(service: Make) -> None:
    """A handler that blocks the loop keeps its own clients waiting, nobody else's (E-18)."""
    it = service(echo())
    it.start()
    with it.connect() as sock:
        sock.sendall(b"who\n")
        blocked = int(read_line(sock).split()[1])
        sock.sendall(b"block\n")
        [sibling] = set(it.pids()) - {blocked}
        assert set(answers(it)) == {sibling}
        assert state(it, blocked) == "busy"
        (it.directory / "go").touch()
        assert read_line(sock) == f"block {blocked}"
    wait_for(lambda: set(answers(it)) == {blocked, sibling}, "both serve again")
    assert it.status()["workers"][0]["exits"] == {}


def test_a_slot_that_backs_off_lends_its_queue(service: Make) -> None:
    """A process that cannot start again leaves nobody waiting."""
    more = """
@echo.on_start
def dies(worker):
    if worker.id == 1 and os.path.exists("broken"):
        os._exit(3)
"""
    it = service(echo(more=more))
    it.start()
    (it.directory / "broken").touch()
    first, victim = it.pids()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: it.status()["workers"][0]["state"] == "crash-loop", "the crash loop")
    assert set(answers(it)) == {first}
    assert set(answers(it)) == {first}
    (it.directory / "broken").unlink()
    wait_for(lambda: len(set(answers(it))) == 2, "both serve again")


def test_every_loan_is_passed_on_when_the_borrower_dies(service: Make) -> None:
    """Three of four slots stopped, and the one that stood in for them killed."""
    it = service(echo(4))
    it.start()
    pids = it.pids()
    with contextlib.ExitStack() as stack:
        for pid in pids[:3]:
            stack.enter_context(signalled(pid, signal.SIGSTOP, signal.SIGCONT))
        assert set(answers(it)) == {pids[3]}
        os.kill(pids[3], signal.SIGKILL)
        new = wait_for(lambda: it.pids()[3:] not in ([], [pids[3]]) and it.pids()[3], "the next")
        assert set(answers(it)) == {new}
    wait_for(lambda: set(answers(it, 80)) == {*pids[:3], new}, "all serve again")


def test_a_full_slot_lends_its_queue_to_a_sibling_with_room(service: Make) -> None:
    it = service(echo().replace('name="echo"', 'name="echo", max_connections=3'))
    it.start()
    with connected(it, 6) as peers:
        for peer in peers:
            peer.sendall(b"hello\n")
        # Wherever the kernel queued them: six fit into two processes of three each.
        answers = [read_line(peer) for peer in peers]
    assert all(line.startswith("hello ") for line in answers)
    assert len(set(answers)) == 2
