"""A real service under test: the real command line in a subprocess, a script in a temporary place.

Every wait is for a condition and has a deadline; every port is picked by the system.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

DEADLINE = 20.0


def wait_for(condition: Callable[[], T], what: str = "", timeout: float = DEADLINE) -> T:
    """Return the condition's first true value, or fail after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never happened within {timeout} s: {what or condition}")
        time.sleep(0.01)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Return different TCP ports of 127.0.0.1 that are free now."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(number)]
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in socks]


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Service:
    """One script, run by the `longline` command.

    Args:
        directory: Where the script, the run directory and the log are.
        source: The script's text; `PORT` in it is replaced by a free port, `PORT2`... too.
    """

    def __init__(self, directory: Path, source: str, **env: str) -> None:
        self.directory = directory
        self.script = directory / "app.py"
        self.python = sys.executable
        self.ports = dict(zip(("PORT", "PORT2", "PORT3", "PORT4"), free_ports(4), strict=True))
        self.port = self.ports["PORT"]
        self.write(source)
        self.log = directory / "app.log"
        # The path of a Unix socket has room for 107 bytes: the test's own directory is too deep.
        self.run_dir = Path(tempfile.mkdtemp(prefix="longline-"))
        self.env = {
            **os.environ,
            "LONGLINE_RUN_DIR": str(self.run_dir),
            "LONGLINE_ROOT_OK": "1",
            "PYTHONWARNINGS": "default",
            **env,
        }
        self.process: subprocess.Popen[str] | None = None
        self.output = directory / "output.txt"

    def write(self, source: str) -> None:
        """Replace the script."""
        text = textwrap.dedent(source)
        for name in sorted(self.ports, key=len, reverse=True):
            text = text.replace(name, str(self.ports[name]))
        self.script.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `longline ARGUMENTS`."""
        return [self.python, "-m", "longline", *arguments]

    def run(
        self, command: str, *options: str, timeout: float = 60, prefix: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run one command on the script to its end."""
        return subprocess.run(
            [*prefix, *self.command(command, *options, str(self.script))],
            env=self.env, cwd=self.directory, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def popen(self, *options: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start in the foreground without waiting; the output goes to `self.output`."""
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*prefix, *self.command("start", *options, str(self.script))],
                env=self.env, cwd=self.directory, stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, text=True, start_new_session=True,
            )  # fmt: skip
        return self.process

    def start(self, *options: str) -> None:
        """Start in the foreground and wait until the banner says that all is ready."""
        process = self.popen(*options)
        wait_for(
            lambda: "Ctrl+C stops" in self.text() or process.poll() is not None,
            f"the start of {self.script}; it said: {self.text()}",
        )
        assert process.poll() is None, self.text()

    def start_daemon(self, *options: str) -> None:
        """Start as a daemon; it is ready when the command returns."""
        done = self.run("start", "-d", *options)
        assert done.returncode == 0, done.stdout + done.stderr

    def text(self) -> str:
        """Return what the foreground process printed so far, or the daemon's log."""
        path = self.output if self.output.exists() else self.log
        return path.read_text(errors="replace") if path.exists() else ""

    def status(self) -> dict[str, Any]:
        """Return `longline status --json`."""
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def connections(self) -> list[dict[str, Any]]:
        """Return the rows of `longline connections --json`."""
        done = self.run("connections", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["connections"]

    @property
    def master_pid(self) -> int:
        """The master's pid."""
        return int(self.status()["service"]["pid"])

    def processes(self, worker: str | None = None) -> list[dict[str, Any]]:
        """Return the process rows of `status`, of one Worker if named."""
        rows = self.status()["processes"]
        return [row for row in rows if worker is None or row["worker"] == worker]

    def pids(self, worker: str | None = None) -> list[int]:
        """Return the pids of workers that serve, by slot."""
        rows = [row for row in self.processes(worker) if row["state"] != "draining"]
        return [row["pid"] for row in sorted(rows, key=lambda row: (row["worker"], row["slot"]))]

    def connect(self, port: int | None = None, timeout: float = 5.0) -> socket.socket:
        """Open a TCP connection to the service."""
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=timeout)

    def ask(self, line: str, port: int | None = None) -> str:
        """Send one line on a new connection and return the answered line."""
        with self.connect(port) as sock:
            sock.sendall(line.encode() + b"\n")
            return read_line(sock)

    def stop(self) -> None:
        """End the service, by force if need be; called by the fixture."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("stop", timeout=30)
        self._end_leftover()
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def _end_leftover(self) -> None:
        """Kill a daemon that `stop` did not end, and fail: no test may leave one behind."""
        for path in self.run_dir.glob("*/control/pid"):
            words = path.read_text().split() if path.is_file() and not path.is_symlink() else []
            pid = int(words[0]) if words and words[0].isdecimal() else 0
            # The file may be a test's forgery: only a master of this very script is ended.
            if pid and alive(pid) and self._is_ours(pid):
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"the service outlived its stop; it said: {self.text()}")

    def _is_ours(self, pid: int) -> bool:
        try:
            title = Path(f"/proc/{pid}/cmdline").read_text()
            place = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return False
        return title.startswith("longline: master") and place == str(self.directory)


def read_line(sock: socket.socket) -> str:
    """Read up to a line feed; what came before an end of file is returned as it is."""
    data = b""
    while not data.endswith(b"\n"):
        chunk = sock.recv(1)
        if not chunk:
            break
        data += chunk
    return data.decode().rstrip("\n")


@contextlib.contextmanager
def signalled(pid: int, stop: signal.Signals, go: signal.Signals) -> Iterator[None]:
    """Send one signal, and the other one at the end whatever happens."""
    os.kill(pid, stop)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, go)
