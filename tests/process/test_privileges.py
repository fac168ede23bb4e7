"""Users: dropping root for good, and who may ask a service (Q-8, Q-9, Q-11, Q-12).

The tests that need a second user run as root only.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longline.supervisor.client import Client
from longline.supervisor.rundir import locate

from .interpreter import USER, open_interpreter
from .service import Service, alive, read_line, signalled, wait_for

Make = Callable[..., Service]


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="longline-test-", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def public(place: Path) -> Iterator[Callable[..., Service]]:
    """A factory of services whose script another user can read."""
    made: list[Service] = []

    def make(source: str, **env: str) -> Service:
        python, packages = open_interpreter()
        directory = place / f"service{len(made)}"
        directory.mkdir(mode=0o755)
        made.append(Service(directory, source, PYTHONPATH=packages, **env))
        made[-1].python = python
        made[-1].run_dir.chmod(0o755)
        made[-1].script.chmod(0o644)
        (directory / "open").mkdir()
        (directory / "open").chmod(0o777)
        return made[-1]

    yield make
    for it in made:
        it.stop()


def ids(pid: int) -> dict[str, list[int]]:
    """Return the Uid, Gid and Groups lines of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {key: [int(word) for word in fields[key].split()] for key in ("Uid", "Gid", "Groups")}


def template(master: int) -> int:
    """Return the pid of the only template."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if int(stat.rpartition(")")[2].split()[1]) == master and b"template" in title:
                return pid
    raise AssertionError("there is no template")


ECHO = """
import os
from pathlib import Path
from longline import Worker, run

# Every import leaves its mark, whoever imports.
with open(Path(__file__).parent / "open" / "imports", "a") as file:
    print(*os.getresuid(), *os.getresgid(), file=file)
os.chmod(file.name, 0o666)

w = Worker("text://127.0.0.1:PORT", name="w", count=2, stop_timeout=2, drain_timeout=2 MORE)

@w.on_message
def said(conn, line):
    return " ".join(map(str, [*os.getresuid(), *os.getresgid(), *os.getgroups()]))

run()
"""


def echo(more: str = "") -> str:
    return ECHO.replace(" MORE", more)


# -- dropping


@as_root
def test_user_of_the_command_line_is_dropped_to_before_the_import(public: Make) -> None:
    """Q-8, Q-9: template and workers; ids, groups, the Groups line; the master stays root."""
    entry = pwd.getpwnam(USER)
    groups = sorted(os.getgrouplist(USER, entry.pw_gid))
    it = public(echo())
    it.start("--user", USER)
    expected = {"Uid": [entry.pw_uid] * 4, "Gid": [entry.pw_gid] * 4}
    master = it.master_pid
    for pid in (*it.pids("w"), template(master)):
        found = ids(pid)
        assert sorted(found.pop("Groups")) == groups
        assert found == expected
    assert ids(master)["Uid"] == [0] * 4
    words = [str(entry.pw_uid)] * 3 + [str(entry.pw_gid)] * 3 + [str(gid) for gid in groups]
    assert it.ask("who") == " ".join(words)
    assert it.run("reload").returncode == 0
    it.run("status")
    it.run("connections")
    assert it.run("stop").returncode == 0
    imports = (it.directory / "open" / "imports").read_text().splitlines()
    # Two generations of code, and nobody else imported it: least of all root.
    assert imports == [" ".join(words[:6])] * 2


@as_root
def test_groups_of_root_are_given_up(public: Make) -> None:
    """Q-8: supplementary groups of whoever started it do not stay."""
    it = public(echo())
    it.popen("--user", "nobody", prefix=("setpriv", "--groups", "0,4,27", "--"))
    wait_for(lambda: "Ctrl+C stops" in it.text(), it.text())
    for pid in (*it.pids("w"), template(it.master_pid)):
        assert not {0, 4, 27} & set(ids(pid)["Groups"])
        assert ids(pid)["Uid"] == [pwd.getpwnam("nobody").pw_uid] * 4


@as_root
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--user", "no-such-user-x"), "no-such-user-x"),
        (("--user", USER, "--group", "no-such-group-x"), "no-such-group-x"),
        (("--user", "99999999999"), "99999999999"),
    ],
)
def test_unknown_user_or_group_refuses_the_start(
    public: Make, options: tuple[str, ...], words: str
) -> None:
    """Q-8: fail closed, one clear line, and the application was never imported."""
    it = public(echo())
    done = it.run("start", *options)
    assert done.returncode == 1
    assert f"no such {'group' if '--group' in options else 'user'}: {words}" in done.stderr
    assert not (it.directory / "open" / "imports").exists()


@as_root
@pytest.mark.parametrize("broken", ["setgroups", "setresgid", "setresuid"])
@pytest.mark.parametrize("how", ["raises", "lies"])
def test_failed_drop_stops_the_start(public: Make, place: Path, broken: str, how: str) -> None:
    """Q-8: a system call that fails, or only says that it did its work."""
    body = "raise PermissionError(1, 'Operation not permitted')" if how == "raises" else "pass"
    hook = place / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        f"import os\ndef fake(*_arguments):\n    {body}\nos.{broken} = fake\n"
    )
    it = public(echo())
    it.env["PYTHONPATH"] += os.pathsep + str(hook)
    prefix = ("setpriv", "--groups", "4,27", "--")
    process = it.popen("--user", USER, prefix=prefix)
    assert process.wait(20) == 1, it.text()
    assert f"cannot become user {USER}" in it.text()
    assert not (it.directory / "open" / "imports").exists()


@as_root
def test_user_of_a_worker_is_dropped_to_after_the_fork(public: Make) -> None:
    """Q-8: the template stays root, so another Worker may stay root or be somebody else."""
    it = public(
        echo(f', user="{USER}"').replace("run()", "")
        + """
v = Worker("text://127.0.0.1:PORT2", name="v")
v.on_message = lambda conn, line: str(os.getuid())
run()
"""
    )
    it.start()
    uid = pwd.getpwnam(USER).pw_uid
    for pid in it.pids("w"):
        assert ids(pid)["Uid"] == [uid] * 4
        assert 0 not in ids(pid)["Groups"]
    assert it.ask("who").startswith(f"{uid} {uid} {uid} ")
    assert it.ask("who", it.ports["PORT2"]) == "0"
    assert ids(template(it.master_pid))["Uid"] == [0] * 4
    rows = {row["name"]: row["user"] for row in it.status()["workers"]}
    assert rows["w"] == USER


@as_root
def test_unknown_user_of_a_worker_refuses_the_start(public: Make) -> None:
    """Q-8: no process serves as somebody else than was asked for."""
    it = public(echo(', user="no-such-user-x"'))
    done = it.run("start")
    assert done.returncode == 1
    assert "no such user: no-such-user-x" in done.stdout + done.stderr


@as_root
def test_worker_user_needs_a_template_of_root(public: Make) -> None:
    """Q-8: what was dropped cannot be had back, and that is said."""
    it = public(echo(', user="nobody"'))
    done = it.run("start", "--user", USER)
    assert done.returncode == 1
    assert "cannot become user nobody" in done.stdout + done.stderr


@as_root
def test_other_users_cannot_become_anybody(public: Make, place: Path) -> None:
    """Q-8: `--user` without root is refused, not ignored."""
    it = public(echo())
    own = place / "own"
    own.mkdir()
    shutil.chown(own, USER)
    own.chmod(0o700)
    done = subprocess.run(
        it.command("start", "--user", "nobody", "--run-dir", str(own / "run"), str(it.script)),
        env=it.env, cwd="/", user=USER, group=pwd.getpwnam(USER).pw_gid, extra_groups=[],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "only root can" in done.stdout + done.stderr
    assert not (it.directory / "open" / "imports").exists()


@as_root
def test_root_without_user_is_warned(public: Make) -> None:
    """Q-9: running an application as root is said, unless that is known."""
    loud = public(echo(), LONGLINE_ROOT_OK="")
    loud.start()
    assert "WARNING" in loud.text()
    assert "--user" in loud.text()
    silent = public(echo())
    silent.start()
    assert "WARNING" not in silent.text()


@as_root
def test_module_beside_the_script_is_never_imported_by_root(public: Make) -> None:
    """Q-9: neither the script's directory nor the working directory is on root's path."""
    it = public(echo())
    trap = "import os\nif os.geteuid() == 0:\n    os._exit(66)\n"
    for name in ("json", "select", "setproctitle", "logging"):
        (it.directory / f"{name}.py").write_text(trap)
    # As the `longline` command starts: `python -m` alone would put the working directory first.
    command = [it.python, "-P", "-m", "longline"]
    where = {"env": it.env, "cwd": it.directory, "stdin": subprocess.DEVNULL}
    done = subprocess.run(
        [*command, "start", "-d", "--user", USER, "--log", str(it.log), str(it.script)],
        **where, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert it.ask("who").startswith(f"{pwd.getpwnam(USER).pw_uid} ")
    assert subprocess.run([*command, "stop", str(it.script)], **where, check=False).returncode == 0


# -- who may ask


def client_of(it: Service) -> Client:
    return Client.connect(locate(str(it.script), str(it.run_dir)))


ASK = """
import socket, struct, sys
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(10)
try:
    sock.connect(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
    sys.exit()
body = b'{"command":"stop"}'
try:
    sock.sendall(bytes.fromhex(sys.argv[2]))
    print("answer" if sock.recv(1) else "closed")
except OSError as error:
    print("closed")
"""


def wire(it: Service, command: dict[str, Any]) -> bytes:
    """Return a command as the client sends it."""
    from longline.supervisor.channel import Channel

    left, right = socket.socketpair()
    channel = Channel(left)
    channel.send(command)
    channel.flush()
    right.settimeout(5)
    data = right.recv(65536)
    channel.close()
    right.close()
    return data


@as_root
def test_control_socket_refuses_other_users(public: Make) -> None:
    """Q-11: by the directory, by the socket's mode, and by the peer's uid when both are gone."""
    it = public(echo())
    it.start("--user", USER)
    rundir = locate(str(it.script), str(it.run_dir))
    stop = wire(it, {"command": "stop"}).hex()

    def ask(user: str) -> str:
        python, _ = open_interpreter()
        done = subprocess.run(
            [python, "-c", ASK, str(rundir.socket), stop], user=user, extra_groups=[],
            group=pwd.getpwnam(user).pw_gid, capture_output=True, text=True, timeout=20,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    assert rundir.socket.stat().st_mode & 0o777 == 0o600
    assert rundir.control.stat().st_mode & 0o777 == 0o700
    assert ask("nobody") == "PermissionError"
    assert ask(USER) == "PermissionError"
    rundir.control.chmod(0o755)
    assert ask(USER) == "PermissionError"
    rundir.socket.chmod(0o666)
    # Now only SO_PEERCRED stands between them: the service's own user may not ask, either.
    assert ask("nobody") == "closed"
    assert ask(USER) == "closed"
    assert it.status()["service"]["state"] == "running"
    rundir.socket.chmod(0o600)
    rundir.control.chmod(0o700)


def raw(it: Service) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(locate(str(it.script), str(it.run_dir)).socket))
    return sock


PLAIN = """
from longline import Worker, run
w = Worker("text://127.0.0.1:PORT", name="w", stop_timeout=2)
w.on_message = lambda conn, line: line
run()
"""


def ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(65536) == b""
    except ConnectionResetError:
        return True


def test_control_requests_are_bounded(service: Make) -> None:
    """Q-11: size, time, the list of commands; the service goes on."""
    it = service(PLAIN)
    it.start()
    with raw(it) as endless:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(64):
                endless.sendall(b"\xff" * 65536)
        assert ended(endless)
    with raw(it) as silent, raw(it) as slow:
        slow.sendall(wire(it, {"command": "status"})[:3])
        assert ended(silent)
        assert ended(slow)
    for command in ("exec", "", "import os", "__class__"):
        with client_of(it) as client:
            assert client.ask(command) == {"ok": False, "error": "there is no such command"}
    for body in (b"[]", b"{", b"\0" * 10, b"nul"):
        with raw(it) as broken:
            broken.sendall(struct.pack("!I", len(body)) + body)
            broken.shutdown(socket.SHUT_WR)
            assert b'"ok":true' not in broken.recv(65536)
    assert it.ask("alive") == "alive"


def test_silent_control_clients_do_not_keep_others_out(service: Make) -> None:
    """Q-11, Q-12: 100 that say nothing, and status answers."""
    it = service(PLAIN)
    it.start()
    silent = [raw(it) for _ in range(100)]
    with client_of(it) as client:
        assert client.ask("status")["ok"] is True
    for sock in silent:
        sock.close()


# -- status under load

HUNG = """
from longline import Worker, run
w = Worker("text://127.0.0.1:PORT", name="w", count=2, stop_timeout=1, hang_timeout=None)
h = Worker("text://127.0.0.1:PORT2", name="h", stop_timeout=1, hang_timeout=60)

w.on_message = lambda conn, line: line

@h.on_message
def hang(conn, line):
    conn.send("hanging")
    conn._flush()
    while True:
        pass

run()
"""


def hang(it: Service) -> socket.socket:
    """Make the worker "h" silent, and wait until that shows."""
    sock = it.connect(it.ports["PORT2"])
    sock.sendall(b"go\n")
    assert read_line(sock) == "hanging"
    wait_for(lambda: it.processes("h")[0]["state"] in ("busy", "hung"))
    return sock


def test_fifty_status_calls_at_once_with_a_hung_worker(service: Make) -> None:
    """Q-12: every answer is whole, and shows the silent process as what it is."""
    it = service(HUNG)
    it.start()
    answers: list[dict[str, Any]] = []
    with hang(it):

        def ask() -> None:
            with client_of(it) as client:
                answers.append(client.ask("status"))

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(answers) == 50
    for answer in answers:
        assert answer["ok"] is True
        rows = answer["status"]["processes"]
        assert sorted(row["worker"] for row in rows) == ["h", "w", "w"]
        assert {row["state"] for row in rows if row["worker"] == "w"} == {"ready"}
        assert {row["state"] for row in rows if row["worker"] == "h"} <= {"busy", "hung"}


def listing(service: Make, record: Callable[[str, object], None], total: int) -> None:
    """Ask for status and connections with `total` connections and a hung worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = total + 500
    if hard < needed:
        pytest.skip(f"needs {needed} descriptors, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    it = service(HUNG)
    it.start()
    socks = [it.connect(timeout=20) for _ in range(total)]
    try:
        wait_for(lambda: sum(row["connections"] for row in it.processes("w")) == total)
        with hang(it):
            begin = time.monotonic()
            with client_of(it) as client:
                answer = client.ask("status")
            status_time = time.monotonic() - begin
            begin = time.monotonic()
            with client_of(it) as client:
                found = client.connections()
            connections_time = time.monotonic() - begin
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (
        sum(r["connections"] for r in answer["status"]["processes"] if r["worker"] == "w") == total
    )
    assert len([row for row in found.rows if row["worker"] == "w"]) == total
    assert [row["worker"] for row in found.silent] == ["h"]
    record("status_seconds", round(status_time, 3))
    record("connections_seconds", round(connections_time, 3))
    print(f"{total} connections: status {status_time:.3f} s, connections {connections_time:.3f} s")
    # An order of magnitude, for a machine that does other things, too.
    assert status_time < 5
    assert connections_time < 10


def test_status_and_connections_are_whole_with_a_hung_worker(
    service: Make, record_property: Callable[[str, object], None]
) -> None:
    """Q-12, the short form."""
    listing(service, record_property, 1000)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_status_and_connections_are_whole_with_ten_thousand_connections(
    service: Make, record_property: Callable[[str, object], None]
) -> None:
    """Q-12: the times are recorded; each is to stay below a second."""
    listing(service, record_property, 10_000)


def test_stopped_worker_is_shown_as_stopped(service: Make) -> None:
    """Q-12: not missing, not hung."""
    it = service(PLAIN)
    it.start()
    (pid,) = it.pids("w")
    with signalled(pid, signal.SIGSTOP, signal.SIGCONT):
        wait_for(lambda: it.processes("w")[0]["state"] == "stopped", "the state stopped")
    wait_for(lambda: it.processes("w")[0]["state"] == "ready", "the state ready")
    assert alive(pid)


def test_status_comes_from_live_data(service: Make) -> None:
    """Q-12: no file of the run directory is what status reads."""
    it = service(PLAIN)
    it.start()
    with it.connect() as sock:
        sock.sendall(b"one\n")
        assert read_line(sock) == "one"
        wait_for(lambda: it.processes("w")[0]["connections"] == 1)
        assert json.loads(it.run("connections", "--json").stdout)["connections"][0]["worker"] == "w"
    files = {path.name for path in it.run_dir.rglob("*") if path.is_file()}
    assert files == {"lock", "pid"}
