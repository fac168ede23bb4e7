"""Stop: in good order, in bounded time, and more quickly when asked again."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
from collections.abc import Callable

from .load import read_answer
from .service import Service, alive, read_line, signalled, wait_for
from .test_supervision import echo, family, say

Make = Callable[..., Service]


def test_ctrl_c_stops_the_family_once(service: Make) -> None:
    """P-8: the terminal signals the whole group; only the master acts on it."""
    more = """
@echo.on_stop
def stopped(worker):
    with open("stops", "a") as file:
        file.write(f"{worker.id}\\n")
"""
    it = service(echo(more))
    it.start()
    assert it.process is not None
    members = family(it.process.pid)
    os.killpg(it.process.pid, signal.SIGINT)
    assert it.process.wait(10) == 0
    wait_for(lambda: not any(map(alive, members)), "the end of all")
    assert sorted((it.directory / "stops").read_text().split()) == ["0", "1"]
    assert "Traceback" not in it.text()
    assert it.text().count("stopping (") == 1


def test_a_terminal_that_hangs_up_stops_the_service(service: Make) -> None:
    """SIGHUP with a terminal means that nobody is there any more."""
    it = service(echo())
    ours, theirs = pty.openpty()
    with it.output.open("w") as output:
        it.process = subprocess.Popen(
            it.command("start", str(it.script)), env=it.env, cwd=it.directory, stdin=theirs,
            stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
    wait_for(lambda: "Ctrl+C stops" in it.text(), "the start")
    os.kill(it.process.pid, signal.SIGHUP)
    assert it.process.wait(10) == 0
    for fd in (ours, theirs):
        os.close(fd)


def test_a_second_signal_hurries_a_stop(service: Make) -> None:
    """P-7: SIGQUIT waits for connections; each further signal is less patient."""
    it = service(echo().replace("stop_timeout=2", "stop_timeout=30"))
    it.start()
    assert it.process is not None
    with it.connect() as sock:
        assert say(sock, "x").startswith("x ")
        sock.sendall(b"unfinished")
        os.kill(it.process.pid, signal.SIGQUIT)
        wait_for(lambda: it.status()["service"]["state"] == "stopping", "the stop")
        for _ in range(3):
            if it.process.poll() is None:
                os.kill(it.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                it.process.wait(0.5)
        assert it.process.wait(10) == 0


HTTP = """
from longline import Worker, run

web = Worker("http://127.0.0.1:PORT", name="web", count=1, stop_timeout=8,
             on_message=lambda conn, request: request.text)
run()
"""


def test_a_half_received_request_is_finished_before_the_stop(service: Make) -> None:
    """Behaviour 8."""
    it = service(HTTP)
    it.start()
    with it.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        wait_for(lambda: it.connections() and it.connections()[0]["bytes_received"], "the half")
        stop = subprocess.Popen(it.command("stop", str(it.script)), env=it.env,
                                stdout=subprocess.DEVNULL)  # fmt: skip
        wait_for(lambda: it.status()["service"]["state"] == "stopping", "the stop")
        sock.sendall(b"cd")
        assert read_answer(sock) == (200, True, "abcd")
    assert stop.wait(10) == 0


def test_a_graceful_stop_waits_for_a_connection(service: Make) -> None:
    """Behaviour 9, within bounds: `stop -g` has the long deadline, and ends with the last peer."""
    it = service(echo().replace("stop_timeout=2", "stop_timeout=1"))
    it.start()
    with it.connect() as sock:
        assert say(sock, "x").startswith("x ")
        sock.sendall(b"unfinished")
        wait_for(lambda: sum(row["receive_queue"] for row in it.connections()), "half a line")
        stop = subprocess.Popen(it.command("stop", "-g", str(it.script)), env=it.env,
                                stdout=subprocess.DEVNULL)  # fmt: skip
        wait_for(lambda: it.status()["service"]["state"] == "stopping", "the stop")
        with contextlib.suppress(subprocess.TimeoutExpired):
            stop.wait(4)
        assert stop.poll() is None
        sock.sendall(b" line\n")
        assert read_line(sock).startswith("unfinished line ")
    assert stop.wait(10) == 0
    assert "the deadline closes" not in it.text()


def test_a_stopped_process_is_left_alone_until_the_service_stops(service: Make) -> None:
    """A worker under a debugger is killed at the deadline of a stop, and not before."""
    it = service(echo())
    it.start()
    victim = it.pids()[0]
    with signalled(victim, signal.SIGSTOP, signal.SIGCONT):
        wait_for(lambda: it.processes()[0]["state"] == "stopped", "stopped in status")
        assert it.run("stop").returncode == 0
        wait_for(lambda: not alive(victim), "its end")
