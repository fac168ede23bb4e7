"""What is stuck is found, ended and replaced: templates, hooks, processes of a dead master."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from .service import Service, alive, wait_for

Make = Callable[..., Service]

ECHO = """
import os, time
from longline import Worker, app, run

echo = Worker("text://127.0.0.1:PORT", name="echo", count=COUNT, stop_timeout=1)

@echo.on_message
def answer(conn, text):
    return f"{text} {os.getpid()}"

MORE
run()
"""


def echo(more: str = "", count: int = 1) -> str:
    return ECHO.replace("COUNT", str(count)).replace("MORE", more)


def template_pid(it: Service) -> int:
    """Return the pid of the only process of the master's that shows itself as a template."""
    master = it.master_pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    titles = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
    (found,) = [pid for pid, title in titles.items() if title.startswith("longline: template")]
    return found


def test_a_worker_that_cannot_end_by_itself_does_not_outlive_its_master_for_long(
    service: Make,
) -> None:
    """P-5, E-2: the port is free again, though the worker was stopped when the master died."""
    it = service(echo())
    it.start()
    (worker,) = it.pids()
    master = it.master_pid
    os.kill(worker, signal.SIGSTOP)
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: not alive(worker), "the end of the stopped worker")
    assert it.process is not None
    it.process.wait(5)
    it.start()
    assert it.ask("again").startswith("again ")


def test_a_stopped_template_keeps_no_stop_from_its_end(service: Make) -> None:
    """P-15: a slot that nobody can fork is no reason to wait for ever."""
    it = service(echo())
    it.start()
    (worker,) = it.pids()
    os.kill(template_pid(it), signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: it.pids() == [None], "a worker that is not forked")
    done = it.run("stop")
    assert done.returncode == 0, done.stderr
    assert it.process is not None
    assert it.process.wait(5) == 0


def test_a_hook_that_hangs_costs_a_template_and_not_the_service(service: Make) -> None:
    """P-6: the worker comes back, from a template that was made anew."""
    hang = """
@app.on_worker_exit
def hang(name, slot, pid, how):
    time.sleep(3600)
"""
    it = service(echo(hang))
    it.start()
    (worker,) = it.pids()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: it.ask("x") if "it is stuck" in it.text() else "", timeout=40)
    assert it.run("stop").returncode == 0


def test_a_signal_to_the_whole_group_stops_in_order(service: Make) -> None:
    """P-8: systemd and timeout(1) signal every process; only the master acts on it."""
    for _ in range(5):
        it = service(echo(count=2))
        it.start()
        assert it.process is not None
        os.killpg(it.process.pid, signal.SIGTERM)
        assert it.process.wait(5) == 0
        text = it.text()
        assert "ERROR" not in text
        assert "did not answer" not in text


def test_a_slot_that_a_reload_removes_never_runs_the_new_code(service: Make) -> None:
    """The ids are 0 to count - 1, also while the count falls."""
    note = """
@echo.on_start
def note(worker):
    print(f"slot {worker.id} of COUNT", flush=True)
"""
    it = service(echo(note.replace("COUNT", "4"), count=4))
    it.start()
    it.write(echo(note.replace("COUNT", "2"), count=2))
    done = it.run("reload")
    assert done.returncode == 0, done.stderr
    assert {line for line in it.text().splitlines() if line.endswith("of 2")} == {
        "slot 0 of 2",
        "slot 1 of 2",
    }
    assert it.ask("x").startswith("x ")


def test_the_unix_socket_of_a_removed_worker_goes_with_it(service: Make, tmp_path: Path) -> None:
    """C-9: a reload takes the file away, and so does a stop that comes while it starts."""
    path = tmp_path / "b.sock"
    more = f'other = Worker("text+unix://{path}", name="other")\nother.on_message = answer'
    it = service(echo(more))
    it.start()
    assert path.is_socket()
    it.write(echo())
    assert it.run("reload").returncode == 0
    wait_for(lambda: not path.exists(), "the end of the file")


def test_descriptors_that_do_not_suffice_fail_the_start(service: Make) -> None:
    """P-2: the start says so instead of trying for ever."""
    it = service(echo(count=6))
    done = it.run("start", "-d", prefix=("prlimit", "--nofile=20:20"))
    assert done.returncode == 1
    assert "open files" in done.stderr
