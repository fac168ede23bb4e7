"""A reload to code that cannot be: told why, and nothing has changed."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from .load import Load
from .service import Service, wait_for
from .test_reload import WEB, answering_pids, echo, refused, versions
from .test_supervision import descriptors, family

Make = Callable[..., Service]

SECOND = "@echo.on_start\ndef no(worker):\n    1 / (1 - worker.id)"
HANG = "import time; time.sleep(3600)"
REFUSED = {
    "syntax": ("def (", "SyntaxError", False),
    "import": ("import no_such_module", "no_such_module", True),
    "exit": ("sys.exit(3)", "SystemExit", True),
    "hook": ("@echo.on_start\ndef no(worker):\n    raise RuntimeError('no database')",
             "no database", True),
    "second-slot": (SECOND,
                    "ZeroDivisionError", True),
    "dies": ("@echo.on_start\ndef no(worker):\n    os._exit(9)", "exit 9", False),
    "killed": ("os.kill(os.getpid(), 9)", "signal 9", False),
    "template-killed": ("boss = os.getpid()\n@echo.on_start\ndef no(worker):\n"
                        "    os.kill(boss, 9)", "signal 9", False),
    "hang-import": (HANG, "ready in time", False),
    "hang-hook": (f"@echo.on_start\ndef no(worker):\n    {HANG}", "ready in time", False),
    "port": ("taken = Worker('text://127.0.0.1:PORT4')", "in use", False),
    "double": ("two = Worker('text://127.0.0.1:PORT2', name='echo')", "echo", False),
}  # fmt: skip


@pytest.mark.drill("E-17")
@pytest.mark.parametrize(("more", "says", "traced"), REFUSED.values(), ids=list(REFUSED))
def test_broken_code_is_refused_and_the_service_goes_on(
    service: Make, more: str, says: str, traced: bool
) -> None:
    """P-12, E-17: reload prints why, exits 1, and nothing has changed."""
    it = service(echo("v1"))
    it.start("--ready-timeout", "4")
    old = it.pids()
    it.write(echo("v2", more=more))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", it.ports["PORT4"]))
        taken.listen()
        done = it.run("reload")
    assert done.returncode == 1, done.stdout
    assert says in done.stderr
    assert ("Traceback" in done.stderr) is traced, done.stderr
    wait_for(lambda: versions(it) == {"v1"} and len(it.pids()) == 2, "the old code everywhere")
    if "worker.id" not in more and "boss" not in more:
        assert it.pids() == old
    wait_for(lambda: len(it.processes()) == 2, "the end of what was tried")
    it.write(echo("v3"))
    assert it.run("reload").returncode == 0
    assert versions(it) == {"v3"}


@pytest.mark.drill("E-17")
def test_a_refused_reload_fails_no_request(service: Make) -> None:
    """E-17 under load: also when one slot has changed already and is rolled back."""
    it = service(WEB)
    it.start()
    broken = "@web.on_start\ndef no(worker):\n    1 / (1 - worker.id)\nrun()"
    with Load(it.port) as load:
        for text in (WEB.replace("run()", broken), WEB.replace("run()", "run(")) * 3:
            it.write(text)
            assert it.run("reload").returncode == 1
        before = load.answered
        wait_for(lambda: load.answered > before + 100, "answers after it")
    assert not load.failures, load.report()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_refused_move_leaves_the_service_where_it_was(service: Make, count: int) -> None:
    """Also when a process at the new port was ready already, and after the count went down."""
    it = service(echo("v1", count=3))
    it.start()
    it.write(echo("v2", count=2))
    assert it.run("reload").returncode == 0
    more = f"@echo.on_start\ndef no(worker):\n    1 / ({count - 1} - worker.id)"
    it.write(echo("v3", count=count, port="PORT2", more=more))
    assert it.run("reload").returncode == 1
    wait_for(lambda: refused(it.ports["PORT2"]), "the end of the new port")
    wait_for(lambda: len(it.pids()) == 2 and versions(it) == {"v2"}, "the old code everywhere")
    it.write(echo("v4", count=3))
    assert it.run("reload").returncode == 0
    assert answering_pids(it) == set(it.pids())


@pytest.mark.parametrize("more", ["1 / 0", "two = Worker('text://127.0.0.1:PORT2')\n" + SECOND])
def test_refused_reloads_leak_nothing(service: Make, more: str) -> None:
    """P-6: descriptors and processes are as before, wherever the new code failed."""
    it = service(echo("v1"))
    it.start()
    master = it.master_pid

    def refuse() -> None:
        assert it.run("reload").returncode == 1
        wait_for(lambda: len(family(master)) == 4, "the end of what was tried")

    it.write(echo("v2", more=more))
    refuse()
    before = len(descriptors(master))
    for _ in range(6):
        refuse()
    wait_for(lambda: len(descriptors(master)) == before, "as many descriptors as before")
    assert versions(it) == {"v1"}
