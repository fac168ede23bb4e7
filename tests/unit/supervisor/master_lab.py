"""A whole master in this process, with a clock of its own and a family that is only played.

Templates and workers are objects that speak the real messages over real socketpairs, so that
every order of events can be had without a fork, a signal or a sleep. No pid is ever signalled.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import types
from typing import TYPE_CHECKING, Any

from longline import osproc
from longline.supervisor import (
    child,
    commands,
    generation,
    nursery,
    report,
    rollout,
    supervisor,
    unixsock,
)
from longline.supervisor.channel import Channel, ChannelClosed, Message
from longline.supervisor.generation import Generation, TemplateState
from longline.supervisor.guardian import Guardian
from longline.supervisor.log import LogWriter
from longline.supervisor.nursery import Nursery
from longline.supervisor.outlet import Outlet
from longline.supervisor.ports import Activation
from longline.supervisor.reactor import Reactor
from longline.supervisor.report import service_state
from longline.supervisor.rundir import RunDirectory
from longline.supervisor.settings import Settings
from longline.supervisor.supervisor import Supervisor
from longline.supervisor.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import pytest

TIMES: dict[str, Any] = {"stop_timeout": 10.0, "drain_timeout": 30.0, "drain_spread": 10.0,
                         "drain_grace": 2.0, "hang_timeout": 60.0}  # fmt: skip


def worker(name: Any = "w", listen: Any = "tcp://127.0.0.1:0", **more: Any) -> dict[str, Any]:
    """One entry of a manifest."""
    entry = {"name": name, "listen": listen, "count": 1, "reuse_port": True, "reloadable": True,
             "backlog": 16, "user": None, "unix_mode": 0o600, "loop": "auto"}  # fmt: skip
    return entry | TIMES | more


def manifest(*workers: dict[str, Any], application: Any = "app") -> dict[str, Any]:
    return {"application": application, "limits": {}, "workers": list(workers)}


class Signals:
    """Stands in for the process's signals."""

    def __init__(self) -> None:
        self.waiting: set[signal.Signals] = set()
        self._read, self._write = os.pipe()

    def fileno(self) -> int:
        return self._read

    def send(self, *numbers: signal.Signals) -> None:
        self.waiting.update(numbers)
        os.write(self._write, b"x")

    def take(self) -> set[signal.Signals]:
        os.read(self._read, 100)
        taken, self.waiting = self.waiting, set()
        return taken | {signal.SIGCHLD}

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class PlayedWorker:
    """A worker process: obeys, unless it is told not to."""

    def __init__(self, lab: Lab, message: Message, generation: int) -> None:
        self.lab = lab
        self.order = message.body
        self.pid = next(lab.pids)
        self.name: str = self.order["worker"]
        self.slot: int = self.order["slot"]
        self.generation = generation
        channel_fd, self.log, *listeners = message.fds
        message.fds.clear()
        self.channel = Channel(socket.socket(fileno=channel_fd))
        self.sockets = [socket.socket(fileno=fd) for fd in listeners]
        self.lent: dict[int, socket.socket] = {}
        self.orders: list[dict[str, Any]] = []
        self.beating = True
        self.leaves = True
        self.serving = False
        self.draining = False
        self.alive = True
        self.say(event="hello", pid=self.pid)
        if (self.name, self.slot, generation) in lab.broken:
            self.say(event="failed", reason="no database", traceback="Traceback")
            lab.kill(self.pid, 3 << 8)
        elif lab.ready_by_itself:
            self.ready()

    def ready(self) -> None:
        self.serving = True
        self.say(event="ready")

    def say(self, **body: Any) -> None:
        self.channel.send(body)

    def pump(self) -> None:
        try:
            messages = self.channel.receive()
        except ChannelClosed:
            self.lab.kill(self.pid, 0)
            return
        for message in messages:
            self._obey(message)
        if self.beating and self.serving and self.alive and not self.channel.wants_write:
            self.say(event="beat", stats={"connections": 1, "reasons": {}})

    def _obey(self, message: Message) -> None:
        body = message.body
        self.orders.append(body)
        match body["do"]:
            case "lend":
                self.lent[body["slot"]] = socket.socket(fileno=message.fds.pop())
            case "return":
                self.lent.pop(body["slot"]).close()
            case "quiesce":
                self.say(event="quiesced")
            case "drain":
                self.draining = True
                if self.leaves:
                    self.lab.kill(self.pid, 0)
        for fd in message.fds:
            os.close(fd)

    def end(self) -> None:
        self.alive = False
        self.channel.close()
        os.close(self.log)
        for sock in (*self.sockets, *self.lent.values()):
            sock.close()


class PlayedTemplate:
    """A template: answers with a manifest, forks played workers."""

    def __init__(self, lab: Lab, pid: int, generation: int, sock: socket.socket, log: int) -> None:
        self.lab = lab
        self.pid = pid
        self.generation = generation
        self.channel = Channel(sock)
        self.log = log
        self.orders: list[dict[str, Any]] = []
        if lab.loads_by_itself:
            self.say(event="manifest", manifest=lab.manifest)

    def say(self, **body: Any) -> None:
        self.channel.send(body)

    def pump(self) -> None:
        try:
            messages = self.channel.receive()
        except ChannelClosed:
            self.lab.kill(self.pid, 0)
            return
        for message in messages:
            self.orders.append(message.body)
            self._obey(message)
            for fd in message.fds:
                os.close(fd)

    def _obey(self, message: Message) -> None:
        body = message.body
        match body["do"]:
            case "fork":
                self.lab.add_worker(PlayedWorker(self.lab, message, self.generation))
            case "hook":
                self.say(event="hooked", name=body["name"])
            case "bind":
                sock, inode = unixsock.bind_socket(body["listen"], body["backlog"], None, 0o600)
                answer = {"event": "bound", "listen": body["listen"], "inode": inode}
                self.channel.send(answer, [sock.fileno()])
                sock.close()
            case "unlink":
                unixsock.unlink_sockets(body["sockets"])
                self.say(event="unlinked")
            case "retire":
                self.lab.kill(self.pid, 0)

    def end(self) -> None:
        self.channel.close()
        os.close(self.log)


class Lab:
    """The master, its clock and its family."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.now = 1000.0
        self.reloaded = False
        self.pids = itertools.count(5_000_000)
        self.manifest: Any = manifest(worker())
        self.broken: set[tuple[str, int, int]] = set()
        self.ready_by_itself = True
        self.loads_by_itself = True
        self.workers: dict[int, PlayedWorker] = {}
        self.templates: dict[int, PlayedTemplate] = {}
        self.signals: list[tuple[int | None, int]] = []
        self.states: dict[int, str] = {}
        self.patience: list[float] = []
        self._dead: list[tuple[int, int]] = []
        self._replace_the_system(monkeypatch)
        self.log = tmp_path / "log"
        self.writer = LogWriter(str(self.log), console=None)
        rundir = RunDirectory(tmp_path / "run")
        rundir.control.mkdir(parents=True)
        self.settings = Settings("app.py", quiet=True)
        self.master = Supervisor(
            self.settings, rundir, self.writer, Notifier({}), Activation([]), Guardian(-1)
        )

    def _replace_the_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = types.SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now)
        for module in (supervisor, nursery, commands, report, rollout, generation):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(commands, "SignalQueue", Signals)
        monkeypatch.setattr(osproc, "set_child_subreaper", lambda: True)
        monkeypatch.setattr(osproc, "is_own_child", lambda pid: pid in self.workers)
        monkeypatch.setattr(osproc, "process_state", lambda pid: self.states.get(pid, "S"))
        monkeypatch.setattr(Generation, "start", lambda generation: self._start(generation))
        monkeypatch.setattr(Generation, "give_up", lambda gone: self.kill(gone.pid, 9))
        monkeypatch.setattr(child.Child, "signal", lambda one, number: self._signal(one, number))
        monkeypatch.setattr(Nursery, "reap", lambda home: self._reap(home))
        turn = Reactor.turn

        def turn_at_once(reactor: Reactor, timeout: float) -> None:
            self.patience.append(timeout)
            turn(reactor, 0)

        monkeypatch.setattr(Reactor, "turn", turn_at_once)

    def _start(self, generation: Generation) -> None:
        ours, theirs = Channel.pair()
        log_read, log_write = os.pipe()
        generation.pid = next(self.pids)
        generation.channel = Channel(ours)
        generation.outlet = Outlet(log_read, self.writer)
        generation.state = TemplateState.LOADING
        played = PlayedTemplate(self, generation.pid, generation.number, theirs, log_write)
        self.templates[generation.pid] = played

    def _signal(self, one: child.Child, number: int) -> None:
        self.signals.append((one.pid, number))
        if number == signal.SIGKILL:
            self.kill(one.pid, 9)

    def _reap(self, home: Nursery) -> None:
        while self._dead:
            for one in [c for c in home.children if c.pid is None]:
                home._hear_child(one)
            home._dead(*self._dead.pop(0))

    # -- the family

    def add_worker(self, played: PlayedWorker) -> None:
        if (played.pid, 3 << 8) in self._dead:
            played.end()
        self.workers[played.pid] = played

    def kill(self, pid: int | None, status: int = 9) -> None:
        """End a process with that wait status."""
        if pid is None or pid in [dead for dead, _ in self._dead]:
            return
        self._dead.append((pid, status))
        played = self.workers.get(pid) or self.templates.pop(pid, None)
        if played is not None:
            played.end()

    def live(self, name: str = "w") -> list[PlayedWorker]:
        return [w for w in self.workers.values() if w.alive and w.name == name]

    def at(self, slot: int, name: str = "w") -> PlayedWorker:
        """The one process that serves the slot."""
        (found,) = [w for w in self.live(name) if w.slot == slot and not w.draining]
        return found

    @property
    def template(self) -> PlayedTemplate:
        """The newest one."""
        return self.templates[max(self.templates)]

    # -- time

    def turn(self, count: int = 1, seconds: float = 0.05) -> None:
        for _ in range(count):
            everyone: Iterable[Any] = [*self.templates.values(), *self.workers.values()]
            for played in everyone:
                if getattr(played, "alive", True) and played.channel.fileno() >= 0:
                    played.pump()
            self.master._turn()
            self.now += seconds

    def until(self, condition: Callable[[], Any], turns: int = 400) -> None:
        for _ in range(turns):
            if condition():
                return
            self.turn()
        raise AssertionError(f"it never came to be; the log: {self.text()}")

    def begin(self) -> None:
        """Begin to start, as the master's `run` does."""
        self.master._begin_rollout()

    @property
    def state(self) -> str:
        """What the service is doing, as `status` says it."""
        return service_state(self.master)

    def start(self, *workers: dict[str, Any]) -> None:
        if workers:
            self.manifest = manifest(*workers)
        self.begin()
        self.until(lambda: self.state == "running")

    def reload(self, *workers: dict[str, Any]) -> None:
        """Reload to that manifest, and wait until it succeeded or failed."""
        if workers:
            self.manifest = manifest(*workers)
        reloads = self.master.reloads
        self.master.reload()
        self.turn()
        self.until(lambda: self.state == "running")
        self.reloaded = self.master.reloads > reloads
        # What was ordered last is heard, and those who left are buried.
        self.turn(3)

    def text(self) -> str:
        return self.log.read_text()

    def close(self) -> None:
        for pid in [*self.workers, *self.templates]:
            if pid in self.templates or self.workers[pid].alive:
                self.kill(pid)
        self._reap(self.master._nursery)
        if self.master.rollout is not None:
            self.master.rollout.fail("the test is over")
        for group in self.master.groups.values():
            for slot in group.sockets():
                slot.close()
        for one in list(self.master.children):
            one.close()
        for code in self.master._nursery.generations:
            code.lost()
        self.master._commands.close()
        self.master._reactor.close()
        self.writer.close()
