"""The template: imports the application once, then forks worker processes when told to.

It runs the script as `__main__`. There `longline.run()` ends in `Template.serve`, which
registers the declared Workers with the master and obeys it until it is retired; a forked
worker leaves `serve` by the other door and never comes back. The process is single-threaded
all its life, since it forks.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import sys
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ..errors import LonglineError, StartError
from ..exitcode import EXIT_START
from . import fork, privilege
from .channel import Channel, ChannelClosed, Message
from .childlog import configure_child_logging
from .script import ScriptFailed, check_threads, run_script
from .unixsock import bind_socket, unlink_sockets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .link import WorkerLink

__all__ = ["Family", "Template", "current", "main"]

_log = logging.getLogger("longline")


class Family(Protocol):
    """What the application hands to its supervisor: declared Workers and plain hooks."""

    def manifest(self) -> dict[str, Any]:
        """Return the Workers as JSON data (`supervisor.manifest`)."""

    def call_hook(self, name: str, arguments: list[Any]) -> None:
        """Call the application's hook `name`, if it has one."""

    def run_worker(self, name: str, link: WorkerLink) -> int:
        """Serve one slot of the Worker `name` until it is drained; return the exit code."""


class Template:
    """The forking process of one generation of code."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.channel: Channel = Channel(fork.adopt_socket(order["channel"]))
        self._family: Family | None = None
        self._link: WorkerLink | None = None
        """Set in a forked worker: what it is, and its channel to the master."""
        self._name = ""
        self._orders: deque[Message] = deque()
        self._relay = fork.ExitRelay() if order["relays"] else None
        self._retired = False

    def boot(self) -> None:
        """Become the template: identity, log, death with the master.

        Raises:
            StartError: The user cannot be taken on.
        """
        order = self.order
        # Signals to the whole group (a terminal, systemd) are the master's to act on; this
        # process ends with its channel.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        configure_child_logging(order["log"], order["log_level"], redirect=order["redirect"])
        fork.set_title(f"template {order['generation']} {order['script']}")
        if order["user"]:
            privilege.drop(privilege.resolve(order["user"], order["group"]))
        fork.die_with_parent(order["master"], signal.SIGKILL)

    def load(self) -> NoReturn:
        """Run the script; it ends in `serve`.

        Raises:
            StartError: The script failed, or never called `longline.run()`.
        """
        if not self.order["preload"]:
            self._serve_unloaded()
        run_script(self.order["script"], self.order["argv"])
        name = os.path.basename(self.order["script"])
        raise StartError(f"{name} ended without calling longline.run()")

    def serve(self, family: Family) -> NoReturn:
        """Take over from `longline.run()`: never returns to the script."""
        if self._link is not None:
            fork.serve(family, self._name, self._link)
        check_threads()
        self._family = family
        self._send({"event": "manifest", "manifest": family.manifest()})
        # Everything imported so far is shared copy-on-write: keep the collector off its pages.
        gc.collect()
        gc.freeze()
        self._obey()

    def report_failure(self, error: LonglineError) -> None:
        """Tell the master why this generation cannot be."""
        trace = error.trace if isinstance(error, ScriptFailed) else ""
        self._send({"event": "failed", "reason": str(error), "traceback": trace[-60_000:]})

    def _send(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        self.channel.send_all(body, fds)

    def _obey(self) -> NoReturn:
        while not self._retired or (self._relay and self._relay.has_children()):
            self._wait()
            for pid, status in self._relay.take() if self._relay else ():
                self._send({"event": "exited", "pid": pid, "status": status})
            try:
                self._orders.extend(self.channel.receive())
            except ChannelClosed:
                break
            while self._orders:
                self._handle(self._orders.popleft())
        os._exit(0)

    def _wait(self) -> None:
        """Wait for an order, or for the end of a child."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        if self._relay is not None:
            poll.register(self._relay.fileno(), select.POLLIN)
        poll.poll()

    def _handle(self, message: Message) -> None:
        body = message.body
        match body["do"]:
            case "fork":
                self._fork(message)
            case "hook":
                self._call_hook(body["name"], body["arguments"])
            case "bind":
                self._bind(body)
            case "unlink":
                unlink_sockets(body["sockets"])
                self._send({"event": "unlinked"})
            case "kill":
                fork.kill_own_child(body["pid"], body["signal"])
            case "retire":
                self._retired = True
        for fd in message.fds:
            os.close(fd)

    def _call_hook(self, name: str, arguments: list[Any]) -> None:
        if self._family is not None:
            try:
                self._family.call_hook(name, arguments)
            except BaseException:
                # sys.exit() in a hook, too: a template that ends costs the service its forks.
                _log.exception("the hook %s raised", name)
        self._send({"event": "hooked", "name": name})

    def _bind(self, body: dict[str, Any]) -> None:
        try:
            sock, inode = bind_socket(body["listen"], body["backlog"], body["owner"], body["mode"])
        except StartError as error:
            self._send({"event": "bound", "listen": body["listen"], "error": str(error)})
            return
        answer = {"event": "bound", "listen": body["listen"], "inode": inode}
        self._send(answer, [sock.fileno()])
        sock.close()

    def _fork(self, message: Message) -> None:
        """Fork one worker; only the worker goes on from here, and never comes back."""
        try:
            if not fork.fork(double=self._relay is None):
                return
        except OSError as error:
            _log.error("no worker could be forked: %s", error)
            return
        self._leave()
        self._name = message.body["worker"]
        self._link = fork.enter(message, self.order)
        if self._family is not None:
            fork.serve(self._family, self._name, self._link)
        self._load_forked(self._link)

    def _leave(self) -> None:
        """Drop in the new worker what belongs to the template and to other workers."""
        self.channel.close()
        for order in self._orders:
            for fd in order.fds:
                os.close(fd)
        self._orders.clear()
        if self._relay is not None:
            self._relay.close()

    # -- preload=False: this process stays empty, each child imports for itself.

    def _serve_unloaded(self) -> NoReturn:
        """Learn the manifest from a child that imports and exits, then obey."""
        ours, theirs = Channel.pair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _probe(self, Channel(theirs), parent)
        theirs.close()
        channel = Channel(ours)
        messages: list[Message] = []
        try:
            while not messages:
                messages = channel.receive_within(3600)
        except ChannelClosed:
            messages = []
        channel.close()
        os.waitpid(pid, 0)
        if not messages:
            raise StartError("the script's process died while it was loaded")
        self._send(messages[0].body)
        if messages[0].body["event"] == "failed":
            os._exit(1)
        self._obey()

    def _load_forked(self, link: WorkerLink) -> NoReturn:
        """Import the script in a worker that was forked from an empty template."""
        try:
            run_script(self.order["script"], self.order["argv"])
            link.failed("the script ended without calling longline.run()", "")
        except StartError as error:
            trace = error.trace if isinstance(error, ScriptFailed) else ""
            link.failed(str(error), trace)
        os._exit(EXIT_START)


class _Probe:
    """Stands in for the template while `preload=False` asks a child for the manifest."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def serve(self, family: Family) -> NoReturn:
        self.channel.send_all({"event": "manifest", "manifest": family.manifest()})
        os._exit(0)


def _probe(template: Template, channel: Channel, parent: int) -> NoReturn:
    global _current
    template.channel.sock.close()
    fork.die_with_parent(parent, signal.SIGKILL)
    _current = _Probe(channel)
    try:
        run_script(template.order["script"], template.order["argv"])
        raise StartError("the script ended without calling longline.run()")
    except StartError as error:
        trace = error.trace if isinstance(error, ScriptFailed) else ""
        channel.send_all({"event": "failed", "reason": str(error), "traceback": trace[-60_000:]})
    os._exit(1)


_current: Template | _Probe | None = None


def current() -> Template | _Probe | None:
    """Return the template that this process is, or was forked from; None elsewhere."""
    return _current


def main() -> NoReturn:
    """Run as a template; the order comes as the only argument."""
    import json

    global _current
    template = Template(json.loads(sys.argv[1]))
    _current = template
    try:
        template.boot()
        template.load()
    except LonglineError as error:
        template.report_failure(error)
    except ChannelClosed:
        pass
    except BaseException:
        _log.critical("the template failed", exc_info=True)
        traceback.print_exc()
    os._exit(1)
