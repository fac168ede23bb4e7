"""Reload: new code comes into service slot by slot, and nobody notices."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .load import HANDLER, Load, read_answer
from .service import Service, alive, read_line, wait_for

Make = Callable[..., Service]

WEB = f"""
import asyncio, os
from longline import Worker, run

web = Worker("http://127.0.0.1:PORT", name="web", count=2,
             drain_timeout=4, drain_grace=1, stop_timeout=2)
{HANDLER}
run()
"""


def echo(version: str, *, count: int = 2, port: str = "PORT", more: str = "") -> str:
    """Return a script whose Worker answers version, pid and slot."""
    return f"""
import asyncio, os, sys, time
from longline import Timer, Worker, app, run

echo = Worker("text://127.0.0.1:{port}", name="echo", count={count},
              drain_timeout=1, drain_grace=0.2, stop_timeout=1)

@echo.on_message
def answer(conn, text):
    if text == "block":
        time.sleep(60)
    return f"{version} {{os.getpid()}} {{echo.id}}"

{more}
run()
"""


def versions(service: Service, port: int | None = None, times: int = 30) -> set[str]:
    """Return which versions of the code answer new connections."""
    return {service.ask("which", port).split()[0] for _ in range(times)}


def answering_pids(service: Service, times: int = 80) -> set[int]:
    """Return which processes answer new connections."""
    return {int(service.ask("who").split()[1]) for _ in range(times)}


# -- nothing is lost


@pytest.mark.timeout(120)
def test_reloads_fail_no_request_and_kills_only_those_in_flight(service: Make) -> None:
    """P-12, P-13, P-6: 20 reloads and 5 times SIGKILL under constant load on 2 slots."""
    it = service(WEB)
    it.start()
    master = it.master_pid
    with Load(it.port) as load:
        for _ in range(20):
            done = it.run("reload")
            assert done.returncode == 0, done.stderr
        assert not load.failures, load.report()
        for turn in range(5):
            kill_one(it, load, turn % 2)
        before = load.answered
        wait_for(lambda: load.answered > before + 50, "answers after the last kill")
    assert it.master_pid == master
    assert it.status()["service"]["reloads"] == 20
    assert len(it.pids("web")) == 2


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ('loop="asyncio", count=2', ()),
        ("reuse_port=False, count=2", ()),
        ("count=1", ()),
        ("count=2", ("--no-preload",)),
    ],
)
def test_other_kinds_of_services_lose_nothing_either(
    service: Make, change: str, options: tuple[str, ...]
) -> None:
    """P-12 and P-13 for the other loop, a shared socket, one process, no template's memory."""
    it = service(WEB.replace("count=2", change))
    it.start(*options)
    with Load(it.port) as load:
        for _ in range(5):
            assert it.run("reload").returncode == 0
        before = load.answered
        wait_for(lambda: load.answered > before + 50, "answers after the last reload")
    assert not load.failures, load.report()


def kill_one(it: Service, load: Load, slot: int) -> None:
    """Kill the worker of one slot; only requests that it had in work may fail."""
    pids = it.pids("web")
    victim = pids[slot]
    known = len(load.failures)
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not alive(victim), "the death of the worker")
    dead = time.monotonic()
    wait_for(lambda: victim not in it.pids("web"), "its death in status")
    wait_for(lambda: len(it.pids("web")) == len(pids), "a replacement")
    failures = load.failures[known:]
    assert all(f.kind in ("reset", "eof") for f in failures), load.report()
    assert all(f.pid in (victim, None) for f in failures), load.report()
    assert all(f.began <= dead and f.ended >= began for f in failures), load.report()


def test_the_requests_of_a_slow_client_are_answered_by_the_old_process(service: Make) -> None:
    """A request in flight is finished; one within the grace is answered with close (P-14)."""
    it = service(WEB)
    it.start()
    old = it.pids("web")
    with it.connect() as sock, it.connect() as idle:
        ask(idle, "/fast/idle")
        assert read_answer(idle)[0] == 200
        sock.sendall(b"POST /fast/half HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        wait_for(lambda: it.connections() and len(it.connections()) == 2, "both connections")
        assert it.run("reload").returncode == 0
        ask(idle, "/fast/again")
        status, last, body = read_answer(idle)
        assert (status, last) == (200, True)
        assert int(body.split()[1]) in old
        sock.sendall(b"cd")
        status, last, body = read_answer(sock)
        assert (status, last) == (200, True)
        assert int(body.split()[1]) in old
    wait_for(lambda: not any(alive(pid) for pid in old), "the end of the old processes")


def ask(sock: socket.socket, path: str) -> None:
    """Send one request."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_an_idle_connection_is_closed_after_the_grace(service: Make) -> None:
    """P-14: an idle keep-alive connection does not keep an old process."""
    it = service(WEB)
    it.start()
    with it.connect() as sock:
        ask(sock, "/fast/1")
        read_answer(sock)
        assert it.run("reload").returncode == 0
        sock.settimeout(10)
        assert sock.recv(1) == b""


@pytest.mark.parametrize(("command", "code"), [("reload", 1012), ("stop", 1001)])
def test_websockets_are_told_why_and_busy_requests_finish(
    service: Make, command: str, code: int
) -> None:
    """P-14: every WebSocket gets a close frame within the spread."""
    it = service(f"""
import asyncio, os
from longline import Worker, run

web = Worker("http://127.0.0.1:PORT", name="web", count=2, drain_timeout=6, drain_grace=0.2,
             drain_spread=1, stop_timeout=6)
{HANDLER.replace("0.03", "2")}
@web.on_websocket_message
def said(conn, message):
    return message

run()
""")
    it.start()
    sockets = [open_websocket(it) for _ in range(60)]
    busy = [it.connect(timeout=15) for _ in range(5)]
    for number, sock in enumerate(busy):
        ask(sock, f"/slow/{number}")
    wait_for(lambda: len(it.connections()) == 65, "every connection in its process")
    asked = subprocess.Popen(it.command(command, str(it.script)), env=it.env, cwd=it.directory)
    began = time.monotonic()
    assert [closing_code(sock) for sock in sockets] == [code] * 60
    for number, sock in enumerate(busy):
        status, last, body = read_answer(sock)
        assert (status, last, body.split()[0]) == (200, True, f"/slow/{number}")
        sock.close()
    assert asked.wait(15) == 0
    assert time.monotonic() - began < 6 + 2


def open_websocket(it: Service) -> socket.socket:
    """Open a WebSocket and return its socket."""
    sock = it.connect(timeout=15)
    sock.sendall(
        b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return sock


def closing_code(sock: socket.socket) -> int:
    """Read a close frame, answer it, and return its code."""
    with sock:
        frame = sock.recv(4, socket.MSG_WAITALL)
        assert frame[:1] == b"\x88", frame
        sock.sendall(b"\x88\x82\0\0\0\0" + frame[2:4])
        return int.from_bytes(frame[2:4], "big")


# -- how it goes


def test_slots_are_replaced_one_by_one_new_before_old(service: Make) -> None:
    """Behaviour 5: never fewer processes than asked for, all pids new, the master the same."""
    more = """
@echo.on_start
def started(worker):
    note("start", worker)

@echo.on_stop
def stopped(worker):
    note("stop", worker)

def note(what, worker):
    with open("events", "a") as file:
        file.write(f"{what} {worker.id}\\n")
"""
    it = service(echo("v1", count=4, more=more))
    it.start()
    events = it.directory / "events"
    events.unlink()
    master, old = it.master_pid, it.pids()
    it.write(echo("v2", count=4, more=more))
    assert it.run("reload").returncode == 0
    assert versions(it) == {"v2"}
    new = it.pids()
    assert len(new) == 4
    assert not set(new) & set(old)
    assert it.master_pid == master
    wait_for(lambda: not any(map(alive, old)), "the end of the old processes")
    lines = events.read_text().split("\n")
    assert [line for line in lines if line.startswith("start")] == [f"start {n}" for n in range(4)]
    for slot in range(4):
        assert lines.index(f"start {slot}") < lines.index(f"stop {slot}")


def test_a_blocked_process_is_killed_and_the_roll_goes_on(service: Make) -> None:
    """Behaviour 6: a blocked loop cannot hold up a reload."""
    it = service(echo("v1"))
    it.start()
    with it.connect() as sock:
        pid = int(ask_line(sock, "who").split()[1])
        sock.sendall(b"block\n")
        it.write(echo("v2"))
        assert it.run("reload").returncode == 0
        assert versions(it) == {"v2"}
        wait_for(lambda: not alive(pid), "the end of the blocked process")
    assert "missed its deadline and is killed" in it.text()


def ask_line(sock: socket.socket, line: str) -> str:
    """Send one line on an open connection and return the answered one."""
    sock.sendall(line.encode() + b"\n")
    return read_line(sock)


@pytest.mark.parametrize("listen", ["None", '"text://127.0.0.1:PORT2"'])
def test_timers_of_old_and_new_code_never_run_at_the_same_time(service: Make, listen: str) -> None:
    """The old process's timers rest before the new process starts."""
    source = f"""
import os
from longline import Timer, Worker, run

beat = Worker({listen}, name="beat", drain_timeout=1, drain_grace=0.1)

@beat.on_start
def started(worker):
    note()
    Timer.every(0.002, note)

def note():
    with open("beats", "a") as file:
        file.write(f"{{os.getpid()}}\\n")

run()
"""
    it = service(source)
    it.start()
    beats = it.directory / "beats"
    for _ in range(3):
        before = len(beats.read_text().split())
        wait_for(lambda n=before: len(beats.read_text().split()) > n + 20, "timers that fire")
        assert it.run("reload").returncode == 0
    after = it.pids("beat")[0]
    wait_for(lambda: beats.read_text().split().count(str(after)) > 20, "the new timers")
    pids = beats.read_text().split()
    changes = [pid for pid, previous in zip(pids, ["", *pids], strict=False) if pid != previous]
    assert len(changes) == len(set(changes)) == 4


def test_a_worker_that_is_not_reloadable_keeps_process_and_connections(service: Make) -> None:
    """Behaviour 7: `on_reload` runs instead; a later respawn comes from the newest code."""

    keeper = """
kept = Worker("text://127.0.0.1:PORT2", name="kept", reloadable=False, stop_timeout=1)
kept.said = VERSION

@kept.on_reload
def again(worker):
    worker.said += "+reloaded"

@kept.on_message
def answer_kept(conn, text):
    return f"{kept.said} {os.getpid()}"
"""
    it = service(echo("v1", more=keeper.replace("VERSION", '"v1"')))
    it.start()
    port = it.ports["PORT2"]
    with it.connect(port) as sock:
        first, pid = ask_line(sock, "x").split()
        assert first == "v1"
        it.write(echo("v2", more=keeper.replace("VERSION", '"v2"')))
        assert it.run("reload").returncode == 0
        assert versions(it) == {"v2"}
        wait_for(lambda: ask_line(sock, "x") == f"v1+reloaded {pid}", "on_reload")
        os.kill(int(pid), signal.SIGKILL)
        assert sock.recv(1) == b""
    wait_for(lambda: it.pids("kept") not in ([], [int(pid)]), "the respawn")
    assert it.ask("x", port).split()[0] == "v2"


# -- what the new script may change


def test_workers_are_added_and_removed(service: Make) -> None:
    """A removed Worker's port is closed, an added one's is open when reload returns."""
    extra = 'more = Worker("text://127.0.0.1:{}", name="{}", on_message=lambda conn, text: "{}")'
    it = service(echo("v1", more=extra.format("PORT2", "first", "first")))
    it.start()
    assert it.ask("x", it.ports["PORT2"]) == "first"
    it.write(echo("v2", more=extra.format("PORT3", "second", "second")))
    assert it.run("reload").returncode == 0
    assert it.ask("x", it.ports["PORT3"]) == "second"
    assert {worker["name"] for worker in it.status()["workers"]} == {"echo", "second"}
    wait_for(lambda: refused(it.ports["PORT2"]), "the end of the removed Worker's port")


def refused(port: int) -> bool:
    """Whether nobody listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_count_goes_down_and_up(service: Make) -> None:
    """No client waits in the queue of a slot that is gone; a slot that returns is served."""
    it = service(echo("v1", count=4))
    it.start()
    for version, count in (("v2", 1), ("v3", 3), ("v4", 2), ("v5", 4)):
        it.write(echo(version, count=count))
        assert it.run("reload").returncode == 0
        pids = set(it.pids())
        assert len(pids) == count
        assert answering_pids(it) == pids, version
        assert versions(it) == {version}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_port_of_a_worker_changes(service: Make, count: int) -> None:
    """The same name at another address: the new port is served, the old one is closed."""
    it = service(echo("v1", count=2))
    it.start()
    it.write(echo("v2", count=count, port="PORT2"))
    assert it.run("reload").returncode == 0
    port = it.ports["PORT2"]
    assert {int(it.ask("x", port).split()[1]) for _ in range(60)} == set(it.pids())
    assert versions(it, port) == {"v2"}
    wait_for(lambda: refused(it.port), "the end of the old port")


def test_a_port_changes_after_the_count_went_down(service: Make) -> None:
    """Slots that left with the old address do not come back with it."""
    it = service(echo("v1", count=3))
    it.start()
    it.write(echo("v2", count=1))
    assert it.run("reload").returncode == 0
    it.write(echo("v3", count=3, port="PORT2"))
    assert it.run("reload").returncode == 0
    port = it.ports["PORT2"]
    assert {int(it.ask("x", port).split()[1]) for _ in range(80)} == set(it.pids())
    wait_for(lambda: refused(it.port), "the end of the old port")


def test_counts_change_under_load_without_a_failed_request(service: Make) -> None:
    """P-13: a queue is never closed with connections in it, whoever left it behind."""
    it = service(WEB.replace("count=2", "count=3"))
    it.start()
    with Load(it.port, keep_alive=2, fresh=5, pace=0.005) as load:
        for count in (1, 3, 2, 4, 1, 2, 3):
            it.write(WEB.replace("count=2", f"count={count}"))
            done = it.run("reload")
            assert done.returncode == 0, done.stderr
    assert not load.failures, load.report()


# -- signals


def test_a_storm_of_reloads_leads_to_one_queued_reload(service: Make) -> None:
    """P-9: 1,000 signals and ten commands during a reload are one more reload."""
    it = service(echo("v1"))
    it.start()
    master = it.master_pid
    gate = it.directory / "gate"
    wait = "while not os.path.exists('gate'): time.sleep(0.01)\nopen('loads', 'a').write('x')"
    it.write(echo("v2", more=wait))
    os.kill(master, signal.SIGUSR1)
    wait_for(lambda: it.status()["service"]["state"] == "reloading", "the first reload")
    for _ in range(1000):
        os.kill(master, signal.SIGUSR1)
    commands = [
        subprocess.Popen(it.command("reload", str(it.script)), env=it.env, cwd=it.directory,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(10)
    ]  # fmt: skip
    wait_for(lambda: all(has_socket(command.pid) for command in commands), "the commands")
    assert it.status()["service"]["state"] == "reloading"
    gate.touch()
    for command in commands:
        output, _ = command.communicate(timeout=30)
        assert command.returncode == 0, output
    assert it.status()["service"]["reloads"] == 2
    assert (it.directory / "loads").read_text() == "xx"
    assert versions(it) == {"v2"}


def has_socket(pid: int) -> bool:
    """Whether a process has a socket open."""
    links = Path(f"/proc/{pid}/fd")
    try:
        return any(os.readlink(link).startswith("socket:") for link in links.iterdir())
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_signals_ask_for_a_reload(service: Make, number: signal.Signals) -> None:
    """SIGHUP reloads, too, where there is no terminal that could have hung up."""
    it = service(echo("v1"))
    it.start()
    it.write(echo("v2"))
    os.kill(it.master_pid, number)
    wait_for(lambda: it.status()["service"]["reloads"] == 1, "the reload")
    assert versions(it) == {"v2"}


def test_a_stop_during_a_reload_wins(service: Make) -> None:
    """The service ends, and the reload says that it did not happen."""
    it = service(echo("v1"))
    it.start()
    it.write(echo("v2", more="time.sleep(60)"))
    reload = subprocess.Popen(it.command("reload", str(it.script)), env=it.env,
                              cwd=it.directory, stderr=subprocess.PIPE, text=True)  # fmt: skip
    wait_for(lambda: it.status()["service"]["state"] == "reloading", "the reload")
    assert it.run("stop").returncode == 0
    assert "stopping" in reload.communicate(timeout=10)[1]
    assert reload.returncode == 1
    assert it.process is not None
    assert it.process.wait(10) == 0
