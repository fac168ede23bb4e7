"""What operators ask of a running service: by signals, and over the control socket."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from .control import ControlServer
from .report import status_report
from .shutdown import Urgency
from .signals import SignalQueue

if TYPE_CHECKING:
    from .control import Request
    from .reactor import Reactor
    from .supervisor import Supervisor

__all__ = ["Commands"]

STOPS = {
    signal.SIGTERM: Urgency.PLAIN,
    signal.SIGINT: Urgency.FAST,
    signal.SIGQUIT: Urgency.GRACEFUL,
}
RELOADS = {signal.SIGUSR1: False, signal.SIGUSR2: True}
"""Whether a reload signal asks for the graceful kind."""


class Commands:
    """Turns signals and control requests into calls of the master."""

    def __init__(self, master: Supervisor, reactor: Reactor) -> None:
        self._master = master
        self._reactor = reactor
        self._signals = SignalQueue()
        # Asked now: once the terminal has hung up it is none any more.
        self._terminal = os.isatty(0)
        self._control = ControlServer(str(master.rundir.socket), self._obey)
        reactor.watch(self._signals, self._on_signals)
        reactor.watch(self._control.sock, self._on_client)

    @property
    def writing(self) -> bool:
        """Whether an answer waits for a client that does not read."""
        return any(request.channel.wants_write for request in self._control.requests)

    def sweep(self, now: float) -> None:
        """Close the clients that have their answer, left, or said nothing for too long."""
        for request in self._control.finished(now):
            self._reactor.unwatch(request.channel)
            request.close()

    def close(self) -> None:
        """Stop taking commands."""
        self.sweep(time.monotonic())
        self._control.close()
        self._signals.close()

    def _on_signals(self) -> None:
        for number in sorted(self._signals.take()):
            if number is signal.SIGCHLD:
                continue
            self._master.journal.info(f"received {number.name}")
            if number is signal.SIGHUP:
                # Without a terminal nobody hung up: the conventional meaning is "read again".
                number = signal.SIGTERM if self._terminal else signal.SIGUSR1
            if number in STOPS:
                self._master.stop(number.name, STOPS[number])
            else:
                self._master.reload(graceful=RELOADS[number])

    def _on_client(self) -> None:
        request = self._control.accept(time.monotonic())
        if request is not None:
            self._reactor.watch(request.channel, lambda: self._on_request(request))

    def _on_request(self, request: Request) -> None:
        self._control.serve(request)
        if request.done:
            self._reactor.unwatch(request.channel)

    def _obey(self, request: Request) -> None:
        graceful = request.body.get("graceful") is True
        match request.command:
            case "status":
                request.reply(ok=True, status=status_report(self._master))
            case "connections":
                self._forward(request)
            case "stop":
                urgency = Urgency.GRACEFUL if graceful else Urgency.PLAIN
                self._master.stop("stop", urgency, request)
            case "reload":
                self._master.reload(graceful=graceful, request=request)
            case "reopen":
                self._master.journal.writer.reopen()
                request.reply(ok=True)

    def _forward(self, request: Request) -> None:
        """Let each worker write its rows to the descriptor that came with the request."""
        if len(request.fds) != 1:
            request.refuse("connections needs one descriptor to write to")
            return
        order = {"do": "connections"}
        asked = [c for c in self._master.children if c.pid and c.tell(order, request.fds)]
        rows = [{"pid": c.pid, "worker": c.group.name, "state": c.state} for c in asked]
        request.reply(ok=True, workers=rows)
