"""Start: ready means ready, and a start that fails says why in one line."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .interpreter import USER, open_interpreter
from .service import Service, alive, read_line, wait_for

Make = Callable[..., Service]

ECHO = """
import os, sys, time
from longline import Worker, app, run

echo = Worker("text://127.0.0.1:PORT", name="echo", count=1, stop_timeout=1)

@echo.on_message
def answer(conn, text):
    return f"{text} {os.getpid()} {echo.id}"

MORE
run()
"""


def echo(more: str = "", count: int = 1) -> str:
    """Return the echo service's script with further lines before `run()`."""
    return ECHO.replace("MORE", more).replace("count=1", f"count={count}")


def processes_of(it: Service) -> list[int]:
    """Return every living process that has the service's directory as its own."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.readlink(entry / "cwd") == str(it.directory):
                found.append(int(entry.name))
    return [pid for pid in found if alive(pid)]


# -- one service per script


def test_the_second_start_changes_nothing(service: Make) -> None:
    """Behaviour 1: it says that the service runs, and as which process."""
    it = service(echo())
    it.start_daemon()
    before = it.master_pid, it.pids()
    for options in (("-d",), ()):
        done = it.run("start", *options)
        assert done.returncode == 1
        assert "is running already" in done.stderr
        assert str(before[0]) in done.stderr
    assert (it.master_pid, it.pids()) == before
    assert it.ask("x").startswith("x ")


def test_stop_and_reload_of_a_service_that_does_not_run(service: Make) -> None:
    """Behaviour 2: told so, with an exit code of its own truth."""
    it = service(echo())
    for command in ("stop", "reload", "status"):
        done = it.run(command)
        assert done.returncode != 0
        assert "not running" in done.stderr


def test_what_a_dead_master_left_behind_blocks_no_start(service: Make) -> None:
    """Behaviour 2: pid file, lock and control socket of a killed master, even a reused pid."""
    it = service(echo())
    it.start_daemon()
    master = it.master_pid
    members = processes_of(it)
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, members)), "the end of the family")
    [pidfile] = it.run_dir.glob("*/control/*pid*")
    pidfile.write_text(pidfile.read_text().replace(str(master), str(os.getpid())))
    assert "not running" in it.run("stop").stderr
    it.start_daemon()
    assert it.ask("x").startswith("x ")


# -- readiness


def test_a_daemon_is_ready_when_start_returns(service: Make) -> None:
    """Behaviour 14: no wait after it, and prints go to the log."""
    it = service(echo("print('declared', flush=True)", count=2))
    it.start_daemon()
    assert it.ask("x").startswith("x ")
    assert {row["state"] for row in it.processes()} == {"ready"}
    assert it.status()["service"]["mode"] == "daemon"
    assert "declared" in it.log.read_text()
    assert os.getsid(it.master_pid) == it.master_pid


def test_prints_of_a_daemon_go_to_the_file_asked_for(service: Make) -> None:
    """Behaviour 14: `--stdout`."""
    it = service(echo("print('declared', flush=True)"))
    it.start_daemon("--stdout", "prints.txt")
    assert (it.directory / "prints.txt").read_text() == "declared\n"


def test_connections_wait_for_a_slow_start_and_none_is_lost(service: Make) -> None:
    """Behaviour 11: accepted only after `on_start`."""
    more = """
@echo.on_start
def warm(worker):
    while not os.path.exists("gate"):
        time.sleep(0.01)
    worker.warm = True
"""
    it = service(echo(more).replace("{text} ", "{text} {echo.warm} "))
    process = it.popen()
    socks: list[socket.socket] = []

    def try_connect() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socks.append(it.connect(timeout=15))
        return bool(socks)

    wait_for(try_connect, "the port")
    socks += [it.connect(timeout=15) for _ in range(20)]
    for sock in socks:
        sock.sendall(b"early\n")
    assert process.poll() is None
    assert "Ctrl+C stops" not in it.text()
    (it.directory / "gate").touch()
    for sock in socks:
        assert read_line(sock).startswith("early True ")
        sock.close()


def test_every_worker_counts_its_slots_from_zero(service: Make) -> None:
    """Behaviour 12: `count=3` gives 0, 1, 2, for each Worker on its own."""
    other = 'other = Worker("text://127.0.0.1:PORT2", name="other", count=2)\n'
    report = """
@echo.on_start
@other.on_start
def started(worker):
    with open("ids", "a") as file:
        file.write(f"{worker.name}{worker.id} ")
"""
    it = service(echo(other + report, count=3))
    it.start_daemon()
    names = (it.directory / "ids").read_text().split()
    assert sorted(names) == ["echo0", "echo1", "echo2", "other0", "other1"]


def test_hooks_of_the_application_run_once(service: Make) -> None:
    """`app.on_start` once all is ready; `app.on_stop` when every process has ended."""
    more = """
def note(*what):
    with open("hooks", "a") as file:
        file.write(" ".join(map(str, what)) + "\\n")

app.on_start(lambda: note("start"))
app.on_stop(lambda: note("stop"))
app.on_reload(lambda: note("reload"))
app.on_worker_exit(lambda name, slot, pid, how: note("exit", name, slot, how))
"""
    it = service(echo(more))
    it.start()
    assert it.run("reload").returncode == 0
    hooks = it.directory / "hooks"
    wait_for(lambda: "exit echo 0 exit 0" in hooks.read_text(), "the end of the old process")
    assert it.run("stop").returncode == 0
    first, *middle, exited, last = hooks.read_text().splitlines()
    assert (first, exited, last) == ("start", "exit echo 0 exit 0", "stop")
    # An old process without connections may be gone before the new code's hook has its turn.
    assert sorted(middle) == ["exit echo 0 exit 0", "reload"]


# -- starts that fail

FAILURES = {
    "syntax": ("def (", "SyntaxError"),
    "import": ("import no_such_module", "No module named 'no_such_module'"),
    "hook": ("@echo.on_start\ndef no(worker):\n    raise OSError('no database')", "no database"),
    "dies": ("@echo.on_start\ndef no(worker):\n    os._exit(9)", "exit 9"),
    "port": ("taken = Worker('text://127.0.0.1:PORT4')", "pid OWN"),
    "no-run": ("sys.stdout.flush()\ndef run(): pass", "without calling longline.run()"),
    "threads": ("import threading\nthreading.Thread(target=time.sleep, args=(60,), "
                "name='left-over', daemon=True).start()", "left-over"),
    "user": ("nobody = Worker('text://127.0.0.1:PORT2', user='no-such-user')", "no-such-user"),
    "name": ("two = Worker('text://127.0.0.1:PORT2', name='echo')", "echo"),
    "unix": ("u = Worker('text+unix:///no/such/directory/x.sock')", "does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("options", [("-d",), ()], ids=["daemon", "foreground"])
@pytest.mark.parametrize(("more", "says"), FAILURES.values(), ids=list(FAILURES))
def test_a_start_that_fails_says_why_and_leaves_nothing(
    service: Make, more: str, says: str, options: tuple[str, ...]
) -> None:
    """P-2, P-15: one line with the reason on the terminal, exit 1, no process, no port."""
    it = service(echo(more))
    says = says.replace("OWN", str(os.getpid()))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", it.ports["PORT4"]))
        taken.listen()
        done = it.run("start", *options)
    assert done.returncode == 1, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("longline: error: ")]
    assert says in line, done.stderr
    assert "sys:1: ResourceWarning" not in done.stderr
    wait_for(lambda: not processes_of(it), "the end of every process")
    it.write(echo())
    it.start_daemon()
    assert it.ask("x").startswith("x ")


def test_a_start_past_its_deadline_fails(service: Make) -> None:
    """P-2: `--ready-timeout` is separate from the hang deadline."""
    it = service(echo("@echo.on_start\ndef slow(worker):\n    time.sleep(60)"))
    done = it.run("start", "-d", "--ready-timeout", "2")
    assert done.returncode == 1
    assert "ready in time" in done.stderr
    wait_for(lambda: not processes_of(it), "the end of every process")


@pytest.mark.parametrize("option", [("--user", "no-such-user"), ("--stdout", "/no/such/dir/x"),
                                    ("--log", "/no/such/dir/x")])  # fmt: skip
def test_options_that_cannot_be_obeyed_stop_the_start(
    service: Make, option: tuple[str, str]
) -> None:
    """Fail closed: never on with less than was asked for."""
    it = service(echo())
    done = it.run("start", "-d", *option)
    assert done.returncode == 1
    assert option[1] in done.stderr
    wait_for(lambda: not processes_of(it), "the end of every process")


def test_a_missing_script_is_a_usage_error(service: Make) -> None:
    """Exit code 2, as of other commands."""
    it = service(echo())
    it.script.unlink()
    done = it.run("start")
    assert done.returncode == 2
    assert "there is no script" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_privileged_port_needs_root(service: Make) -> None:
    """The one line says what is missing; run as an ordinary user."""
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 81:
        pytest.skip("every port is unprivileged here")
    it = service(echo().replace("127.0.0.1:PORT", "127.0.0.1:81"))
    it.python, it.env["PYTHONPATH"] = open_interpreter()
    done = as_user(it, pwd.getpwnam(USER), "start", "-d")
    assert done.returncode == 1
    assert "port 81" in done.stderr or ":81" in done.stderr
    assert "root" in done.stderr or "privilege" in done.stderr or "permi" in done.stderr


def as_user(it: Service, user: pwd.struct_passwd, *arguments: str) -> subprocess.CompletedProcess:
    """Run a command on the script as another user, from a directory of that user."""
    for path in (it.directory, it.run_dir):
        os.chown(path, user.pw_uid, user.pw_gid)
    script = it.run_dir / "app.py"
    script.write_text(it.script.read_text())
    return subprocess.run(
        it.command(*arguments, str(script)), env={**it.env, "HOME": "/"}, cwd=it.run_dir,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=30,
        user=user.pw_uid, group=user.pw_gid, extra_groups=[],
    )  # fmt: skip


# -- without preloading


def test_without_preload_each_worker_imports_for_itself(service: Make) -> None:
    """Threads of an import live in the process that imported."""
    more = """
import threading
thread = threading.Thread(target=threading.Event().wait, daemon=True)
thread.start()
with open("imports", "a") as file:
    file.write(f"{os.getpid()}\\n")
"""
    it = service(echo(more, count=2).replace("{echo.id}", "{thread.is_alive()}"))
    it.start_daemon("--no-preload")
    imported = (it.directory / "imports").read_text().split()
    assert set(map(str, it.pids())) <= set(imported)
    assert it.ask("x").endswith(" True")
    it.write(echo("version = 2", count=2))
    assert it.run("reload").returncode == 0
    assert it.ask("x").split()[2] in ("0", "1")


@pytest.mark.parametrize("broken", ["def (", "1 / 0"])
def test_without_preload_a_broken_script_is_refused_too(service: Make, broken: str) -> None:
    """A process of its own tries the script first."""
    it = service(echo(broken))
    done = it.run("start", "-d", "--no-preload")
    assert done.returncode == 1
    assert "could not be loaded" in done.stderr
    wait_for(lambda: not processes_of(it), "the end of every process")


# -- Unix sockets

UNIX = """
import os
from longline import Worker, run

echo = Worker("text+unix://{path}", name="echo", count=2, stop_timeout=1{more})

@echo.on_message
def answer(conn, text):
    return f"{{text}} {{os.getpid()}}"

run()
"""


def ask_unix(path: Path, line: str) -> str:
    """Send one line to a Unix socket and return the answered one."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(line.encode() + b"\n")
        return read_line(sock)


@pytest.fixture
def unix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that is short enough for a Unix socket."""
    return tmp_path_factory.mktemp("u") / "s"


@pytest.mark.parametrize(("more", "mode"), [("", 0o600), (", unix_mode=0o660", 0o660)])
def test_a_unix_socket_has_its_mode_and_is_removed(
    service: Make, unix: Path, more: str, mode: int
) -> None:
    """C-9: made with its mode, kept over a reload, stale ones replaced, unlinked at the stop."""
    it = service(UNIX.format(path=unix, more=more))
    it.start_daemon()
    assert stat.S_IMODE(unix.stat().st_mode) == mode
    assert ask_unix(unix, "a").startswith("a ")
    inode = unix.stat().st_ino
    assert it.run("reload").returncode == 0
    assert unix.stat().st_ino == inode
    members = processes_of(it)
    os.kill(it.master_pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, members)), "the end of the family")
    it.start_daemon()
    assert ask_unix(unix, "b").startswith("b ")
    assert it.run("stop").returncode == 0
    assert not unix.exists()


def identity(path: Path) -> tuple[int, int, int]:
    """Return what tells one file from another, and from its changed self."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_mtime_ns


@pytest.mark.parametrize("kind", ["live", "file", "link"])
def test_what_is_not_ours_at_the_path_of_a_unix_socket_stays(
    service: Make, unix: Path, kind: str
) -> None:
    """C-9: a live socket, a file, a link: the start fails, and touches nothing."""
    it = service(UNIX.format(path=unix, more=""))
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "live":
            other.bind(str(unix))
            other.listen()
        elif kind == "file":
            unix.write_text("precious")
        else:
            unix.symlink_to("/etc/hostname")
        before = identity(unix)
        done = it.run("start", "-d")
        assert done.returncode == 1
        assert str(unix) in done.stderr
        assert identity(unix) == before


def test_a_stop_leaves_the_socket_of_another_service(service: Make, unix: Path) -> None:
    """C-9: what somebody else put at the path meanwhile is not ours to unlink."""
    it = service(UNIX.format(path=unix, more=""))
    it.start_daemon()
    unix.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(unix))
        inode = unix.stat().st_ino
        assert it.run("stop").returncode == 0
        assert unix.stat().st_ino == inode
