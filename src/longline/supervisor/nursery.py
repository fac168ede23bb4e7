"""The processes of a service as they are: started, listened to, reaped.

Nothing here decides anything. What happens is told to a `Keeper`, which holds what is
wanted. Every message comes from a process that may be hostile: it is checked before it is
believed.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Protocol

from .. import osproc
from .channel import Channel, ChannelError
from .child import KILL_DELAY, Child, State, describe_status
from .generation import Generation, TemplateState
from .outlet import Outlet

if TYPE_CHECKING:
    from .channel import Message
    from .group import Group, Slot
    from .guardian import Guardian
    from .log import LogWriter
    from .reactor import Reactor
    from .settings import Settings

__all__ = ["Keeper", "Nursery", "text_of"]

LAST_READS = 16
"""Most reads of what a dead worker has left in its channel."""


def text_of(body: dict[str, Any], key: str) -> str:
    """Return a text of a message, "" when there is none: nothing else is turned into one."""
    value = body.get(key)
    return value if isinstance(value, str) else ""


class Keeper(Protocol):
    """Who is told what becomes of the processes."""

    def child_ready(self, child: Child) -> None:
        """A worker serves from now on."""

    def child_failed(self, child: Child, reason: str, trace: str) -> None:
        """A worker says that it cannot start; it will end."""

    def child_ended(self, child: Child, how: str) -> None:
        """A worker is gone and forgotten."""

    def template_said(self, generation: Generation, message: Message) -> None:
        """A template sent a message; its descriptors are closed afterwards if still listed."""

    def template_ended(self, generation: Generation, how: str) -> None:
        """A template that was not retired is gone."""


class Nursery:
    """Every process below the master.

    Args:
        settings: How the service runs.
        writer: Where the lines of all processes go.
        reactor: What waits for them.
        keeper: Who is told.
        guardian: Who ends workers that outlive us.
    """

    def __init__(
        self,
        settings: Settings,
        writer: LogWriter,
        reactor: Reactor,
        keeper: Keeper,
        guardian: Guardian,
    ) -> None:
        self.children: list[Child] = []
        self.generations: list[Generation] = []
        self._settings = settings
        self._writer = writer
        self._reactor = reactor
        self._keeper = keeper
        self._guardian = guardian
        self._relays = not osproc.set_child_subreaper()
        self._next_number = 1

    # -- starting

    def new_generation(self) -> Generation:
        """Return a generation of code whose template is still to be started."""
        generation = Generation(self._next_number, self._settings, self._writer, self._relays)
        self._next_number += 1
        self._forget_retired()
        self.generations.append(generation)
        return generation

    def start_template(self, generation: Generation) -> None:
        """Start a template, and listen to it.

        Raises:
            OSError, StartError: No process could be had, or no file for its output.
        """
        generation.start()
        if generation.channel is not None and generation.outlet is not None:
            self._reactor.watch(generation.channel, lambda: self._hear_template(generation))
            self._listen(generation.outlet)

    def spawn(self, group: Group, slot: Slot) -> Child | None:
        """Have the group's template fork one worker; None while it cannot.

        Raises:
            OSError: No descriptor is left.
        """
        generation = group.generation
        if not generation.serving:
            return None
        ours, theirs = Channel.pair()
        try:
            log_read, log_write = os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
        fds = [theirs.fileno(), log_write]
        if slot.sock is not None:
            fds.append(slot.sock.fileno())
        order = {"do": "fork", "worker": group.name, "slot": slot.id, "listen": group.listen,
                 "user": group.spec.user, "generation": generation.number}  # fmt: skip
        told = generation.tell(order, fds)
        theirs.close()
        os.close(log_write)
        outlet = Outlet(log_read, self._writer)
        child = Child(group, slot, generation, Channel(ours), outlet, time.monotonic())
        if not told:
            child.close()
            return None
        self.children.append(child)
        self._reactor.watch(child.channel, lambda: self._hear_child(child))
        self._listen(outlet)
        return child

    def _listen(self, outlet: Outlet) -> None:
        def read() -> None:
            if not outlet.read():
                self._reactor.unwatch(outlet)

        self._reactor.watch(outlet, read)

    # -- listening

    def _hear_child(self, child: Child) -> None:
        try:
            messages = child.channel.receive()
        except ChannelError:
            self._reactor.unwatch(child.channel)
            if child.pid is None:
                self._bury(child, "died before it could say who it is")
            elif self._relays and child.generation.pid is None:
                # Who would have told us how it ended is gone, too.
                self._bury(child, "ended unseen")
            else:
                # It can be told nothing any more: it ends by itself, or is killed.
                child.channel.close()
                deadline = time.monotonic() + KILL_DELAY
                child.kill_at = min(child.kill_at or deadline, deadline)
            return
        for message in messages:
            for fd in message.fds:
                os.close(fd)
            self._heed(child, message.body)

    def _heed(self, child: Child, body: dict[str, Any]) -> None:
        now = time.monotonic()
        match body.get("event"):
            case "hello":
                self._greet(child, body.get("pid"))
            case "ready" if child.state is State.STARTING:
                child.became_ready(now)
                self._keeper.child_ready(child)
            case "beat" if isinstance(body.get("stats"), dict):
                child.heard(body["stats"], now)
            case "accepting":
                child.accepting = body.get("value") is True
            case "declined":
                child.group.take_back(body.get("slot"), child)
            case "quiesced":
                child.quiesced = True
            case "failed":
                child.failure = text_of(body, "reason")[:500]
                self._keeper.child_failed(child, child.failure, text_of(body, "traceback"))

    def _greet(self, child: Child, pid: Any) -> None:
        """Believe a pid only when the kernel says that it is a child of ours, and a new one."""
        known = {child.pid for child in self.children} | {g.pid for g in self.generations}
        ours = type(pid) is int and pid > 1 and (self._relays or osproc.is_own_child(pid))
        if child.pid is None and ours and pid not in known:
            child.pid = child.outlet.pid = pid
            self._guardian.watch(pid)

    def _hear_template(self, generation: Generation) -> None:
        if generation.channel is None:
            return
        try:
            messages = generation.channel.receive()
        except ChannelError:
            self._reactor.unwatch(generation.channel)
            # Without its channel it is of no use, whether it died or broke the framing.
            generation.give_up()
            return
        for message in messages:
            if message.body.get("event") == "exited" and self._relays:
                self._relayed(message.body)
            else:
                self._keeper.template_said(generation, message)
            for fd in message.fds:
                os.close(fd)

    def _relayed(self, body: dict[str, Any]) -> None:
        pid, status = body.get("pid"), body.get("status")
        if type(pid) is int and type(status) is int:
            self._dead(pid, status)

    # -- reaping

    def reap(self) -> None:
        """Collect every dead child, those of nobody we know included (we may be PID 1)."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            # Its own hello may still wait to be read: only then do we know whose death it is.
            for child in [c for c in self.children if c.pid is None]:
                self._hear_child(child)
            pid, status = os.waitpid(found.si_pid, 0)
            self._dead(pid, status)

    def _dead(self, pid: int, status: int) -> None:
        for child in self.children:
            if child.pid == pid:
                self._guardian.forget(pid)
                self._bury(child, describe_status(status))
                return
        for generation in self.generations:
            if generation.pid == pid:
                self._template_dead(generation, describe_status(status))
                return

    def _bury(self, child: Child, how: str) -> None:
        # Its last words may be a reason why it could not start.
        with contextlib.suppress(ChannelError):
            for _ in range(LAST_READS if child.channel.fileno() >= 0 else 0):
                for message in child.channel.receive():
                    for fd in message.fds:
                        os.close(fd)
                    self._heed(child, message.body)
        for source in (child.channel, child.outlet):
            self._reactor.unwatch(source)
        self.children.remove(child)
        expected = child.state is State.DRAINING
        child.close()
        child.expected = expected
        self._keeper.child_ended(child, how)

    def _template_dead(self, generation: Generation, how: str) -> None:
        if generation.channel is not None and generation.channel.fileno() >= 0:
            self._hear_template(generation)
        for source in (generation.channel, generation.outlet):
            if source is not None:
                self._reactor.unwatch(source)
        generation.lost()
        if generation.state is not TemplateState.RETIRED:
            self._keeper.template_ended(generation, how)
        self._forget_retired()

    def _forget_retired(self) -> None:
        self.generations = [
            generation
            for generation in self.generations
            if generation.state is not TemplateState.RETIRED or generation.pid is not None
        ]

    def flush(self) -> None:
        """Offer every process what it has not taken yet."""
        for child in self.children:
            if child.channel.wants_write:
                child.flush()
        for generation in self.generations:
            generation.flush()
