"""Files of a service: modes, attacks on them, the log, Unix sockets (Q-1 to Q-7, C-9)."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longline.supervisor.rundir import RunDirectory, locate

from .service import Service, alive, read_line, wait_for

Make = Callable[..., Service]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")

ECHO = """
import logging
import os
from longline import Worker, run

w = Worker("text://127.0.0.1:PORT", name="w", stop_timeout=2, drain_timeout=2, hang_timeout=1)
log = logging.getLogger("app")

@w.on_message
def said(conn, line):
    word, _, rest = line.partition(" ")
    if word == "log":
        log.warning("peer said %s", rest.replace("|", chr(10)).replace("^", chr(13)))
    if word == "print":
        print(rest, flush=True)
    if word == "write":
        open(rest, "w").close()
    return line

run()
"""


def rundir(it: Service) -> RunDirectory:
    return locate(str(it.script), str(it.run_dir))


def halt(it: Service) -> None:
    """Stop a foreground service, so that it can be started again."""
    assert it.run("stop").returncode == 0
    assert it.process is not None
    assert it.process.wait(10) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# -- modes


def test_every_file_of_a_daemon_is_private(service: Make) -> None:
    """Q-1: under a careless umask of the starting shell, too."""
    it = service(ECHO)
    roots = (it.directory, it.run_dir)
    before = {path for root in roots for path in root.rglob("*")}
    pid_file, stdout = it.directory / "own.pid", it.directory / "prints.txt"
    mask = os.umask(0)
    try:
        it.start_daemon("--log", str(it.log), "--pid-file", str(pid_file), "--stdout", str(stdout))
    finally:
        os.umask(mask)
    assert (
        it.ask(f"write {it.directory}/made-by-the-app") == f"write {it.directory}/made-by-the-app"
    )
    assert it.ask("print hello") == "print hello"
    wait_for(lambda: stdout.read_text() == "hello\n")
    made = {path for root in roots for path in root.rglob("*")} - before
    place = rundir(it)
    assert {pid_file, stdout, it.log, place.socket, place.lock, place.pidfile} <= made
    for path in made:
        if path.is_dir():
            assert mode(path) & 0o022 == 0, path
        elif path.suffix != ".pyc":
            assert mode(path) & ~0o640 == 0, (path, oct(mode(path)))
    assert mode(place.control) == 0o700
    assert mode(place.socket) == 0o600
    master = it.master_pid
    for pid in (master, *it.pids()):
        assert re.search(r"^Umask:\s+0027$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert it.run("stop").returncode == 0
    assert not pid_file.exists()
    assert not place.socket.exists()
    assert not place.pidfile.exists()


def test_pid_files_name_process_and_start_time(service: Make) -> None:
    """Q-2."""
    it = service(ECHO)
    pid_file = it.directory / "own.pid"
    it.start("--pid-file", str(pid_file))
    pid, started = map(int, pid_file.read_text().split())
    assert pid == it.master_pid
    assert started == int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    assert rundir(it).pidfile.read_text() == pid_file.read_text()


# -- the pid file under attack


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard-link", "fifo", "directory", "open"])
def test_a_pid_file_that_is_not_ours_is_left_alone(service: Make, kind: str) -> None:
    """Q-2: the start is refused in one line, and what lies there is as before."""
    it = service(ECHO)
    victim = it.directory / "victim"
    victim.write_text("precious")
    pid_file = it.directory / "own.pid"
    if kind == "symlink":
        pid_file.symlink_to(victim)
    elif kind == "dangling":
        pid_file.symlink_to(it.directory / "nowhere")
    elif kind == "hard-link":
        pid_file.hardlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(pid_file)
    elif kind == "directory":
        pid_file.mkdir()
    else:
        pid_file.write_text("1 1\n")
        pid_file.chmod(0o666)
    before = pid_file.lstat()
    done = it.run("start", "--pid-file", str(pid_file))
    assert done.returncode == 1
    assert f"cannot write the pid file {pid_file}" in done.stderr
    assert os.path.samestat(before, pid_file.lstat())
    assert victim.read_text() == "precious"
    assert not (it.directory / "nowhere").exists()


@as_root
def test_a_pid_file_of_another_owner_is_left_alone(service: Make) -> None:
    """Q-2."""
    it = service(ECHO)
    pid_file = it.directory / "own.pid"
    pid_file.write_text("1 1\n")
    shutil.chown(pid_file, "nobody")
    done = it.run("start", "--pid-file", str(pid_file))
    assert done.returncode == 1
    assert "belongs to another user" in done.stderr
    assert pid_file.read_text() == "1 1\n"


def test_a_pid_file_in_an_open_directory_is_refused(service: Make) -> None:
    """Q-2: whoever may write the directory decides whom we signal."""
    it = service(ECHO)
    shared = it.directory / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    done = it.run("start", "--pid-file", str(shared / "own.pid"))
    assert done.returncode == 1
    assert "others may write its directory" in done.stderr
    assert list(shared.iterdir()) == []


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_stale_pid_of_a_stranger_is_never_signalled(
    service: Make, stranger: subprocess.Popen[bytes]
) -> None:
    """Q-2, core 2: not even when the start time fits; and it does not block the start."""
    it = service(ECHO)
    it.start()
    halt(it)
    place = rundir(it)
    place.pidfile.write_text(f"{stranger.pid} {start_time(stranger.pid)}\n")
    place.pidfile.chmod(0o640)
    for command in ("stop", "reload", "status"):
        done = it.run(command)
        assert done.returncode != 0
        assert "not running" in done.stderr
        assert stranger.poll() is None
    it.start()
    assert it.ask("hello") == "hello"
    assert it.run("stop").returncode == 0
    assert stranger.poll() is None


@pytest.mark.parametrize("kind", ["symlink", "hard-link", "fifo"])
def test_the_run_directorys_own_pid_file_is_checked(service: Make, kind: str) -> None:
    """Q-2: commands trust the lock; the start refuses what it did not make."""
    it = service(ECHO)
    it.start()
    halt(it)
    place = rundir(it)
    victim = it.directory / "victim"
    victim.write_text("1 1\n")
    if kind == "symlink":
        place.pidfile.symlink_to(victim)
    elif kind == "hard-link":
        place.pidfile.hardlink_to(victim)
    else:
        os.mkfifo(place.pidfile)
    assert it.run("stop").returncode != 0
    done = it.run("start")
    assert done.returncode == 1
    assert "pid file" in done.stderr
    assert victim.read_text() == "1 1\n"


# -- the run directory under attack


def test_a_run_directory_that_is_a_link_is_refused(service: Make) -> None:
    """Q-3."""
    it = service(ECHO)
    elsewhere = it.directory / "elsewhere"
    elsewhere.mkdir()
    it.run_dir.rmdir()
    it.run_dir.symlink_to(elsewhere)
    done = it.run("start")
    assert done.returncode == 1
    assert "is a symbolic link" in done.stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("level", ["base", "service", "control"])
def test_a_run_directory_open_to_others_is_refused(service: Make, level: str) -> None:
    """Q-3: at each level."""
    it = service(ECHO)
    place = rundir(it)
    place.control.mkdir(parents=True)
    victim = {"base": it.run_dir, "service": place.path, "control": place.control}[level]
    victim.chmod(0o777)
    done = it.run("start")
    assert done.returncode == 1
    assert "may be written by others" in done.stderr


@as_root
@pytest.mark.parametrize("level", ["base", "service", "control"])
def test_a_run_directory_of_somebody_else_is_refused(service: Make, level: str) -> None:
    """Q-3: who made it first may not lie in wait there."""
    it = service(ECHO)
    place = rundir(it)
    place.control.mkdir(parents=True)
    shutil.chown({"base": it.run_dir, "service": place.path, "control": place.control}[level],
                 "nobody")  # fmt: skip
    done = it.run("start")
    assert done.returncode == 1
    assert "belongs to another user" in done.stderr


def test_nothing_is_made_in_shared_temporary_directories(service: Make) -> None:
    """Q-3: nor any abstract Unix socket."""
    it = service(ECHO)
    temporary = it.directory / "tmp"
    temporary.mkdir()
    it.env["TMPDIR"] = str(temporary)
    it.start()
    pids = {it.master_pid, *it.pids()}
    assert list(temporary.iterdir()) == []
    inodes = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(fd)))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    abstract = [row[7] for row in rows if len(row) > 7 and row[6] in inodes and row[7][0] == "@"]
    assert abstract == []


# -- the log


@pytest.mark.parametrize("kind", ["symlink", "hard-link", "fifo", "directory"])
def test_a_log_file_that_is_not_ours_is_refused(service: Make, kind: str) -> None:
    """Q-4: neither written nor waited for."""
    it = service(ECHO)
    victim = it.directory / "victim"
    victim.write_text("precious")
    if kind == "symlink":
        it.log.symlink_to(victim)
    elif kind == "hard-link":
        it.log.hardlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(it.log)
    else:
        it.log.mkdir()
    done = it.run("start", "--log", str(it.log))
    assert done.returncode == 1
    assert f"write the log {it.log}" in done.stderr
    assert victim.read_text() == "precious"


@as_root
def test_a_log_directory_of_another_user_is_never_written_by_root(service: Make) -> None:
    """Q-4."""
    it = service(ECHO)
    place = it.directory / "logs"
    place.mkdir()
    shutil.chown(place, "nobody")
    done = it.run("start", "--log", str(place / "app.log"))
    assert done.returncode == 1
    assert "as root" in done.stderr
    assert list(place.iterdir()) == []


def test_the_log_is_found_again_after_a_rotation_but_not_behind_a_link(service: Make) -> None:
    """Q-4: reopening repeats the checks; a refused file leaves the old one in use."""
    it = service(ECHO)
    it.start_daemon("--log", str(it.log))

    def logged(path: Path, word: str) -> bool:
        assert it.ask(f"log {word}")
        return path.exists() and word in path.read_text()

    old = it.directory / "app.log.old"
    it.log.rename(old)
    wait_for(lambda: logged(it.log, "second"))
    assert mode(it.log) == 0o640
    victim = it.directory / "victim"
    victim.write_text("precious")
    third = it.directory / "app.log.third"
    it.log.rename(third)
    it.log.symlink_to(victim)
    wait_for(lambda: logged(third, "fourth") and "is a symbolic link" in third.read_text())
    assert victim.read_text() == "precious"


EVIL = "log a\x1b[31mred|2026-01-01 00:00:00.000 INFO fake^over\x07\x08\x9b\x85\u2028\u2029\x7fend"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def test_control_characters_of_peers_never_reach_the_log(service: Make) -> None:
    """Q-5: one record begins one line, in the file and on the terminal."""
    it = service(ECHO)
    it.start("--log", str(it.log))
    assert it.ask(EVIL)
    wait_for(lambda: "red" in it.log.read_text())
    for text in (it.log.read_text(), it.output.read_text()):
        assert not CONTROL.search(text), text
        (line,) = [line for line in text.split("\n") if "red" in line]
        assert "fake" in line
        assert "end" in line
        assert r"\x1b[31m" in line
        assert r"\n" in line


def test_json_logs_are_json_whatever_is_said(service: Make) -> None:
    """Q-5."""
    it = service(ECHO)
    it.start("--log", str(it.log), "--log-json")
    assert it.ask(EVIL)
    assert it.ask('log "quoted\\ {"}')
    wait_for(lambda: "quoted" in it.log.read_text())
    records = [json.loads(line) for line in it.log.read_text().splitlines()]
    messages = [record["message"] for record in records if record["logger"] == "app"]
    assert messages[1] == 'peer said "quoted\\ {"}'
    assert "2026-01-01 00:00:00.000 INFO fake" in messages[0]
    assert {"time", "level", "pid", "logger", "message", "traceback"} == set(records[0])


def test_prints_of_a_worker_cannot_forge_records(service: Make) -> None:
    """Q-5: what a daemon prints is text of its own logger."""
    it = service(ECHO)
    it.start_daemon("--log", str(it.log))
    forged = '{"time":1,"level":50,"name":"longline","message":"forged","pid":1}'
    assert it.ask(f"print {forged}")
    assert it.ask("print \x1b[2J")
    wait_for(lambda: "[2J" in it.log.read_text())
    text = it.log.read_text()
    assert not CONTROL.search(text)
    assert "CRITICAL" not in text


# -- no room, nobody who reads


def flood(it: Service, lines: int) -> None:
    with it.connect() as sock:
        for number in range(lines):
            sock.sendall(f"log {number} {'x' * 900}\n".encode())
            assert read_line(sock).startswith(f"log {number} ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few lines."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@as_root
def test_a_full_disk_stops_nothing(service: Make, small_disk: Path) -> None:
    """Q-6: counted, told in the first line that fits again, and no recursion."""
    it = service(ECHO)
    log = small_disk / "app.log"
    filler = small_disk / "filler"
    it.start_daemon("--log", str(log))
    filler.write_bytes(b"x" * 40_000)
    flood(it, 200)
    wait_for(lambda: it.status()["service"]["log_lost"] > 100)
    lost = it.status()["service"]["log_lost"]
    assert lost <= 220
    assert it.run("reload").returncode == 0
    filler.unlink()
    assert it.ask("log after")
    wait_for(lambda: "peer said after" in log.read_text())
    text = log.read_text()
    assert re.search(r"\d+ log records were lost here: No space left on device", text)
    assert all(line.startswith("20") for line in text.splitlines() if "peer said" in line)
    assert it.run("stop").returncode == 0


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is missing")
def test_a_file_that_may_not_grow_stops_nothing(service: Make) -> None:
    """Q-6: the same without root, by the limit of a file's size."""
    it = service(ECHO)
    it.popen("--log", str(it.log), prefix=("prlimit", "--fsize=40000", "--"))
    wait_for(lambda: "Ctrl+C stops" in it.text())
    # The captured output is a file, too, and full as well.
    flood(it, 100)
    wait_for(lambda: it.status()["service"]["log_lost"] > 50)
    assert it.ask("still") == "still"
    assert it.run("reload").returncode == 0
    assert it.run("stop").returncode == 0


def test_a_terminal_that_nobody_reads_stops_nothing(service: Make) -> None:
    """Q-6: a full pipe, then a closed one."""
    it = service(ECHO)
    read, write = os.pipe()
    it.process = subprocess.Popen(
        it.command("start", "-q", str(it.script)), env=it.env, cwd=it.directory,
        stdout=write, stderr=write, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    os.close(write)

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return it.ask("hello") == "hello"
        return False

    wait_for(answers)
    flood(it, 200)
    wait_for(lambda: it.status()["service"]["log_lost"] > 50)
    os.close(read)
    flood(it, 10)
    assert it.ask("hello") == "hello"
    assert it.run("reload").returncode == 0
    assert it.run("stop").returncode == 0
    assert it.process.wait(10) == 0


# -- secrets

HANGING = """
from longline import Worker, run
w = Worker("http://127.0.0.1:PORT", name="w", stop_timeout=1, hang_timeout=1)

@w.on_message
def said(conn, request):
    cookie = request.headers.get("cookie")
    authorization = request.headers.get("authorization")
    if request.path == "/raise":
        raise RuntimeError("boom")
    while True:
        pass

run()
"""


def test_dumps_and_tracebacks_hold_no_header_values(service: Make) -> None:
    """Q-7: stacks of a hung process, the traceback of a handler, status and connections."""
    it = service(HANGING)
    it.start("--log", str(it.log), "--log-level", "debug")
    secret = "Cookie: sid=SECRET1\r\nAuthorization: Bearer SECRET2\r\nX-Key: SECRET3\r\n\r\n"
    with it.connect() as sock:
        sock.sendall(f"GET /raise?q=1 HTTP/1.1\r\nHost: a\r\n{secret}".encode())
        assert b" 500 " in sock.recv(65536)
    with it.connect(timeout=20) as sock:
        sock.sendall(f"GET /hang HTTP/1.1\r\nHost: a\r\n{secret}".encode())
        shown = it.run("status", "--json").stdout + it.run("connections", "--json").stdout
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(65536) == b""
    wait_for(lambda: "is hung" in it.log.read_text())
    text = it.log.read_text() + it.output.read_text() + shown
    assert "boom" in text
    assert "in said" in text
    assert "SECRET" not in text
    assert "core" not in {path.name for path in it.directory.iterdir()}


def test_workers_leave_no_core_dump(service: Make) -> None:
    """Q-7: memory holds headers, cookies and keys."""
    it = service(ECHO)
    it.start()
    (pid,) = it.pids()
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"^Max core file size\s+0\s", limits, re.M)


# -- Unix sockets

UNIX = """
from longline import Worker, run
w = Worker("text+unix://PATH", name="w", stop_timeout=2, drain_timeout=2 MORE)
w.on_message = lambda conn, line: line
run()
"""


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="longline-", dir="/tmp") as name:
        yield Path(name) / "s"


def on_unix(path: Path, more: str = "") -> str:
    return UNIX.replace("PATH", str(path)).replace(" MORE", more)


def ask_unix(path: Path, line: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(line.encode() + b"\n")
        return read_line(sock)


@pytest.mark.parametrize(
    ("more", "expected"),
    [("", 0o600), (", unix_mode=0o660", 0o660), (", unix_mode=0o666, count=2", 0o666)],
)
def test_unix_socket_has_its_mode_and_is_removed_at_the_stop(
    service: Make, socket_path: Path, more: str, expected: int
) -> None:
    """C-9, core 25: whatever the umask; it survives a reload; gone at the stop."""
    it = service(on_unix(socket_path, more))
    mask = os.umask(0o077 if expected & 0o066 else 0)
    try:
        it.start()
    finally:
        os.umask(mask)
    assert mode(socket_path) == expected
    assert ask_unix(socket_path, "one") == "one"
    inode = socket_path.lstat().st_ino
    assert it.run("reload").returncode == 0
    assert socket_path.lstat().st_ino == inode
    assert ask_unix(socket_path, "two") == "two"
    assert it.run("stop").returncode == 0
    assert not socket_path.exists()


def test_stale_unix_socket_is_replaced(service: Make, socket_path: Path) -> None:
    """C-9, core 25: probed first; nobody answers."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    it = service(on_unix(socket_path))
    it.start()
    assert ask_unix(socket_path, "new") == "new"


@pytest.mark.parametrize("kind", ["live", "file", "symlink", "dangling", "directory", "fifo"])
def test_whatever_else_is_at_the_path_refuses_the_start(
    service: Make, socket_path: Path, kind: str
) -> None:
    """C-9: it is left as it is."""
    victim = socket_path.parent / "victim"
    victim.write_text("precious")
    live = socket.socket(socket.AF_UNIX)
    if kind == "live":
        live.bind(str(socket_path))
        live.listen(4)
    elif kind == "file":
        socket_path.write_text("precious")
    elif kind == "symlink":
        socket_path.symlink_to(victim)
    elif kind == "dangling":
        socket_path.symlink_to(socket_path.parent / "nowhere")
    elif kind == "directory":
        socket_path.mkdir()
    else:
        os.mkfifo(socket_path)
    before = socket_path.lstat()
    with live:
        done = service(on_unix(socket_path)).run("start")
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert str(socket_path) in done.stderr
    assert os.path.samestat(before, socket_path.lstat())
    assert victim.read_text() == "precious"


def test_two_services_do_not_share_a_unix_socket(service: Make, socket_path: Path) -> None:
    """C-9: the second start fails, the first goes on."""
    first, second = service(on_unix(socket_path)), service(on_unix(socket_path))
    first.start()
    done = second.run("start")
    assert done.returncode == 1
    assert "a running process listens there" in done.stderr
    assert ask_unix(socket_path, "first") == "first"


def test_unix_socket_of_somebody_else_is_not_removed(service: Make, socket_path: Path) -> None:
    """C-9: only what is still ours is unlinked at the stop."""
    it = service(on_unix(socket_path))
    it.start()
    socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(socket_path))
        other.listen(4)
        inode = socket_path.lstat().st_ino
        assert it.run("stop").returncode == 0
        assert socket_path.lstat().st_ino == inode


@as_root
def test_unix_socket_belongs_to_the_workers_user(service: Make, socket_path: Path) -> None:
    """C-9: owner and group of the socket are those of `Worker(user=...)`."""
    socket_path.parent.chmod(0o755)
    it = service(on_unix(socket_path, ", user='www-data'"))
    it.start_daemon("--log", str(it.log))
    status = socket_path.lstat()
    entry = pwd.getpwnam("www-data")
    assert (status.st_uid, status.st_gid) == (entry.pw_uid, entry.pw_gid)
    assert mode(socket_path) == 0o600


def test_long_unix_paths_are_refused_with_the_limit(service: Make, tmp_path: Path) -> None:
    """C-9: by name, not by a cut path."""
    path = tmp_path / ("x" * 120)
    done = service(on_unix(path)).run("start")
    assert done.returncode == 1
    assert "107" in done.stdout + done.stderr
    assert list(tmp_path.glob("x*")) == []


def test_a_killed_master_leaves_files_that_block_nothing(service: Make, socket_path: Path) -> None:
    """C-9, E-2: stale socket, pid file and lock of a kill -9."""
    it = service(on_unix(socket_path))
    it.start()
    pids = it.pids()
    assert it.process is not None
    it.process.kill()
    it.process.wait(10)
    wait_for(lambda: not any(alive(pid) for pid in pids), "the workers' end", timeout=10)
    assert socket_path.exists()
    it.start()
    assert ask_unix(socket_path, "again") == "again"
