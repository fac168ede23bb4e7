"""The master: one loop that keeps a family of processes as it should be.

    wait -> read children, templates, control clients -> obey signals -> reap -> reconcile

Everything that happens only changes what is wanted or what is known; `_reconcile` alone
closes the gap between the two. The master imports no application code, has no thread and no
event loop, and never waits for anyone: what a child does not take is queued, within bounds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..errors import StartError
from ..limits import Limits
from .channel import Channel
from .child import State
from .commands import Commands
from .generation import TemplateState
from .health import judge_templates, judge_workers, patience
from .journal import Journal
from .lending import balance
from .manifest import Manifest
from .nursery import Nursery, text_of
from .reactor import Reactor
from .readiness import Readiness
from .report import status_report
from .rollout import Phase, Rollout
from .shutdown import Shutdown, Urgency

if TYPE_CHECKING:
    from .channel import Message
    from .child import Child
    from .control import Request
    from .generation import Generation
    from .group import Group, Slot
    from .guardian import Guardian
    from .log import LogWriter
    from .ports import Activation
    from .reactor import Source
    from .rundir import RunDirectory
    from .settings import Settings
    from .systemd import Notifier

__all__ = ["Supervisor"]

TICK = 1.0
STALL = 2.5
"""A turn of the loop that took longer means that the master itself was stopped."""
QUIESCE_TIMEOUT = 1.0
KILL_GRACE = 2.0
"""Seconds between the end of a worker's own deadline and SIGKILL."""
TEMPLATE_RETRY = 5.0


class Supervisor:
    """One service: its groups of workers, its generations of code, its operators' wishes."""

    def __init__(
        self,
        settings: Settings,
        rundir: RunDirectory,
        writer: LogWriter,
        notifier: Notifier,
        passed: Activation,
        guardian: Guardian,
    ) -> None:
        self.settings = settings
        self.rundir = rundir
        self.journal: Journal = Journal(writer)
        self.started_at: float = time.time()
        self.groups: dict[str, Group] = {}
        self.accepted: Generation | None = None
        self.rollout: Rollout | None = None
        self.shutdown: Shutdown | None = None
        self.reloads: int = 0
        self._reload_wanted: list[Request] | None = None
        self._reload_graceful = False
        self._writer = writer
        self._notifier = notifier
        self._activation = passed
        self._readiness = Readiness(settings)
        self._reactor = Reactor(self._broken)
        self._nursery = Nursery(settings, writer, self._reactor, self, guardian)
        self._commands = Commands(self, self._reactor)
        self._turned = time.monotonic()
        self._watchdog_at = 0.0
        self._failed_start: Generation | None = None

    @property
    def children(self) -> list[Child]:
        """Every worker process, draining ones included."""
        return self._nursery.children

    @property
    def graceful_timeout(self) -> float:
        """The deadline of `stop -g` and `reload -g`: the operator's, else the application's."""
        if self.settings.graceful_timeout is not None:
            return self.settings.graceful_timeout
        manifest = self.accepted.manifest if self.accepted is not None else None
        limits = manifest.limits if manifest is not None else Limits()
        return limits.graceful_timeout

    # -- the loop

    def run(self) -> int:
        """Start the service and supervise it until it is told to stop.

        Returns:
            The exit code: 0 only when everything started and everything ended.
        """
        self._begin_rollout()
        while self.shutdown is None or not self.shutdown.over:
            self._turn()
        return self._leave(self.shutdown)

    def _turn(self) -> None:
        now = time.monotonic()
        generations = self._nursery.generations
        wait = patience(self.groups.values(), self.children, generations, now, TICK)
        # 50 turns a second while an answer waits for a client that reads it in pieces.
        self._reactor.turn(min(wait, 0.02) if self._commands.writing else wait)
        now = time.monotonic()
        if now - self._turned > STALL:
            for child in self.children:
                child.forgive(now)
        self._turned = now
        self._nursery.reap()
        self._reconcile(now)
        self._nursery.flush()
        self._commands.sweep(now)
        if self._notifier.watchdog_interval and now >= self._watchdog_at:
            self._notifier.watchdog()
            self._watchdog_at = now + self._notifier.watchdog_interval

    def _broken(self, source: Source, trace: str) -> None:
        """Survive an error of ours: whoever's message led to it is heard no more."""
        self.journal.error("the master could not take a message; this is a bug", trace)
        if isinstance(source, Channel):
            self._reactor.unwatch(source)
            source.close()

    # -- what operators ask

    def reload(self, *, graceful: bool = False, request: Request | None = None) -> None:
        """Ask for a reload; one that is under way is finished first, and at most one waits."""
        if self.shutdown is not None:
            if request is not None:
                request.refuse("the service is stopping")
            return
        if self.rollout is not None and self.rollout.supersedable(time.monotonic()):
            # Code that does not get done loading must not keep out the code that mends it.
            self._rollout_failed(self.rollout.generation, "a newer reload took its place")
        if self._reload_wanted is None:
            self._reload_wanted = []
        self._reload_graceful |= graceful
        if request is not None:
            self._reload_wanted.append(request)

    def stop(self, reason: str, urgency: Urgency, request: Request | None = None) -> None:
        """Ask the service to end; asked again, it gets less patient."""
        if self.shutdown is None:
            self._begin_shutdown(reason, urgency, 0)
        elif self.shutdown.hurry(urgency, escalate=request is None):
            self.journal.info(f"stopping with less patience ({reason})")
            self._drain_all(self.shutdown)
        if request is not None and self.shutdown is not None:
            self.shutdown.waiters.append(request)

    # -- reconciling

    def _reconcile(self, now: float) -> None:
        judge_workers(self.children, now, self.journal)
        judge_templates(self._nursery.generations, now)
        if self.shutdown is not None:
            if self.shutdown.advance(now, drained=not self.children):
                self.journal.warning("the template did not answer: its on_stop hook may hang")
        else:
            self._advance_rollout(now)
            self._remake_template(now)
            # A copy: a spawn that fails may end the rollout, and with it groups.
            for group in list(self.groups.values()):
                self._fill_slots(group, now)
                self._roll(group, now)
                balance(group, now)

    def _fill_slots(self, group: Group, now: float) -> None:
        for slot in group.wanted:
            if slot.current is None and slot.next is None and now >= slot.retry_at:
                slot.current = self._spawn(group, slot, now)

    def _spawn(self, group: Group, slot: Slot, now: float) -> Child | None:
        try:
            # None once the stop has begun: a spawn before, of this very turn, failed the start.
            return self._nursery.spawn(group, slot) if self.shutdown is None else None
        except OSError as error:
            slot.retry_at = now + TICK
            line = f"{group.name}#{slot.id} cannot be started: {error}"
            if not self._rollout_failed(group.generation, line):
                self.journal.error(line)
            return None

    def _roll(self, group: Group, now: float) -> None:
        """Take the next step in replacing the one slot whose turn it is."""
        slot = group.rolling
        if slot is None or slot.next is not None or slot.current is None:
            return
        old = slot.current
        if not group.outdated(old):
            old.resume()
        elif old.state is State.DRAINING or now < slot.retry_at:
            return
        elif slot.sock is None:
            # Nobody waits on its port, and two of it must not run at once: stop, then start.
            self._drain_child(old)
        elif old.quiesce_by is None:
            # Timers, cron and consumers must not run twice: the old ones rest before the new.
            old.quiesce(now + QUIESCE_TIMEOUT)
        elif old.quiesced or old.state is not State.READY or now >= old.quiesce_by:
            slot.next = self._spawn(group, slot, now)

    def _remake_template(self, now: float) -> None:
        """Replace the template of the code in service when it died."""
        generation = self.accepted
        if generation is None or generation.state is not TemplateState.LOST:
            return
        if now >= generation.retry_at:
            generation.retry_at = now + TEMPLATE_RETRY
            self.journal.warning("the template is gone: a new one loads the script")
            self._start_template(generation)

    # -- rollouts

    def _begin_rollout(self, waiters: list[Request] | None = None, graceful: bool = False) -> None:
        generation = self._nursery.new_generation()
        timeout = self.settings.ready_timeout
        self.rollout = Rollout(
            generation,
            self.accepted,
            self.groups,
            self._activation,
            deadline=None if timeout is None else time.monotonic() + timeout,
            graceful=graceful,
        )
        self.rollout.waiters = waiters or []
        self._start_template(generation)

    def _start_template(self, generation: Generation) -> None:
        try:
            self._nursery.start_template(generation)
        except (OSError, StartError) as error:
            reason = f"no process could be started that loads the script: {error}"
            if not self._rollout_failed(generation, reason):
                self.journal.error(reason)

    def _advance_rollout(self, now: float) -> None:
        rollout = self.rollout
        if rollout is None:
            if self._reload_wanted is not None:
                waiters, self._reload_wanted = self._reload_wanted, None
                graceful, self._reload_graceful = self._reload_graceful, False
                self._notifier.reloading()
                self.journal.info("reloading")
                self._begin_rollout(waiters, graceful)
            return
        if rollout.settled:
            self._finish_rollout(rollout)
        elif rollout.deadline is not None and now > rollout.deadline:
            reason = "not every worker was ready in time (ready_timeout)"
            self._rollout_failed(rollout.generation, reason)

    def _finish_rollout(self, rollout: Rollout) -> None:
        self.rollout = None
        rollout.finish()
        if rollout.previous is not None:
            self.reloads += 1
            rollout.previous.retire()
            for group in self.groups.values():
                if not group.spec.reloadable:
                    for child in group.children:
                        child.tell({"do": "reload"})
        self._writer.reopen()
        self._let_go(rollout)
        self.accepted = rollout.generation
        self._call_hook("on_start" if rollout.is_start else "on_reload")
        workers = sum(len(group.slots) for group in self.groups.values())
        self.journal.info(
            f"{'started' if rollout.is_start else 'reloaded'}: {workers} workers ready"
        )
        self._notifier.ready(f"{workers} workers ready")
        if rollout.is_start:
            self._readiness.succeeded(status_report(self))
        for request in rollout.waiters:
            request.reply(ok=True, workers=workers)

    def _rollout_failed(self, generation: Generation, reason: str, trace: str = "") -> bool:
        """Fail the rollout of that code, if there is one; whether there was."""
        rollout = self.rollout
        if rollout is None or rollout.generation is not generation:
            return False
        self.rollout = None
        if not rollout.is_start or self.settings.daemon or self.settings.log_file:
            # On a terminal the start says it itself: once is enough.
            self.journal.error(reason, trace)
        rollout.fail()
        if rollout.is_start:
            self._readiness.failed(reason, trace)
            self._failed_start = generation
            self._begin_shutdown("the start failed", Urgency.FAST, 1)
            return True
        self.journal.warning("the reload failed; the service goes on as before")
        self._notifier.ready("the last reload failed")
        for child in [c for c in self.children if c.generation is generation and not c.ready_at]:
            self._retire_child(child)
        generation.kill()
        self._let_go(rollout)
        for request in rollout.waiters:
            request.refuse(reason, traceback=trace)
        return True

    def _let_go(self, rollout: Rollout) -> None:
        """End the processes of what a rollout removed; removed slots' queues stay served."""
        for group, slot in rollout.leaving_slots:
            for child in (slot.current, slot.next):
                if child is not None:
                    self._retire_child(child, rollout.graceful)
            group.retire(slot)
        for group in rollout.leaving:
            children = group.children
            for slot in group.sockets():
                slot.close()
            for child in children:
                self._retire_child(child, rollout.graceful)
            self.groups.pop(group.name, None)
        template = self.accepted if rollout.phase is Phase.FAILED else rollout.generation
        if template is not None:
            template.unlink(rollout.orphaned_sockets)

    def _retire_child(self, child: Child, graceful: bool = False) -> None:
        """Take a process out of its slot and have it let go of its connections."""
        child.slot.forget(child)
        self._drain_child(child, graceful)

    def _drain_child(self, child: Child, graceful: bool | None = None) -> None:
        if graceful is None:
            graceful = self.rollout is not None and self.rollout.graceful
        spec = child.group.spec
        timeout = self.graceful_timeout if graceful else spec.drain_timeout
        child.drain("reload", timeout, time.monotonic() + timeout + KILL_GRACE)
        self._limit_draining()

    def _limit_draining(self) -> None:
        """Let at most two generations drain: the oldest one's time is up when a third comes."""
        draining = [child for child in self.children if child.state is State.DRAINING]
        numbers = sorted({child.generation.number for child in draining})
        for child in draining:
            if child.generation.number in numbers[:-2]:
                child.drain("reload", 0.0, time.monotonic() + KILL_GRACE)

    # -- what the nursery tells

    def child_ready(self, child: Child) -> None:
        """Put a ready replacement into service, and let the old process drain."""
        slot = child.slot
        if slot.next is not child:
            return
        old, slot.current, slot.next = slot.current, child, None
        if old is not None:
            self._drain_child(old)

    def child_failed(self, child: Child, reason: str, trace: str) -> None:
        """Note why a worker cannot start."""
        line = f"{child} cannot start: {reason}"
        if not self._rollout_failed(child.generation, line, trace):
            self.journal.error(line, trace)

    def child_ended(self, child: Child, how: str) -> None:
        """Free the slot, and see whether the end was wanted."""
        now = time.monotonic()
        group, slot = child.group, child.slot
        group.exits[how] += 1
        slot.forget(child)
        self._call_hook("on_worker_exit", [group.name, slot.id, child.pid, how])
        if child.expected or self.shutdown is not None:
            self.journal.info(f"{child} is gone ({how})")
            return
        # One that was never forked says something of the template, not of the Worker.
        delay = TICK if child.pid is None else group.backoff.exited(now)
        slot.retry_at = now + delay
        again = f", next try in {delay:g} s" if delay else ""
        last = f"; its last line: {words}" if (words := child.outlet.last_words) else ""
        # One that left in good order was asked to by somebody else, by a signal of its own.
        note = self.journal.warning if how == "exit 0" else self.journal.error
        note(f"{child} ended: {how}{again}{last}")
        if child.ready_at is None:
            reason = f"{child} ended while it started: {how}"
            self._rollout_failed(child.generation, reason)
        if group.backoff.looping and self.settings.fail_fast and self.shutdown is None:
            self._begin_shutdown(f"{group.name} is in a crash loop", Urgency.PLAIN, 1)

    def template_said(self, generation: Generation, message: Message) -> None:
        """Act on a template's message."""
        body = message.body
        rollout = self.rollout if self.rollout and self.rollout.generation is generation else None
        try:
            match body.get("event"):
                case "manifest" if generation.state is TemplateState.LOADING:
                    generation.state = TemplateState.SERVING
                    if rollout is not None and rollout.phase is Phase.LOADING:
                        rollout.loaded(body.get("manifest"))
                    elif Manifest.from_json(body.get("manifest")) != generation.manifest:
                        self.journal.warning("the script declares other Workers now: reload it")
                case "bound" if rollout is not None:
                    rollout.bound(body, message.fds)
                case "failed":
                    self._template_failed(generation, body)
                case "hooked" if body.get("name") == "on_stop" and self.shutdown is not None:
                    self.shutdown.hook_done()
                case "unlinked" if self.shutdown is not None:
                    self.shutdown.unlinked()
        except (StartError, OSError) as error:
            self._rollout_failed(generation, str(error))

    def _template_failed(self, generation: Generation, body: dict[str, Any]) -> None:
        reason, trace = text_of(body, "reason")[:1000], text_of(body, "traceback")
        if not self._rollout_failed(generation, reason, trace):
            self.journal.error(f"the template could not be made again: {reason}", trace)

    def template_ended(self, generation: Generation, how: str) -> None:
        """Fail the rollout that needed it, or have it made again."""
        self._rollout_failed(generation, f"the process that loads the script ended: {how}")
        if self.shutdown is not None:
            self.shutdown.template_gone()
        elif generation is self.accepted:
            self.journal.error(f"the template ended: {how}")

    # -- the end

    def _begin_shutdown(self, reason: str, urgency: Urgency, code: int) -> None:
        if self.rollout is not None and self.rollout.is_start:
            # What never ran has not ended well, whoever stopped it.
            code = 1
        self.shutdown = Shutdown(
            reason,
            urgency,
            code,
            self.graceful_timeout,
            hook=lambda: self._call_hook("on_stop"),
            unlink=self._unlink_all,
        )
        self.journal.info(f"stopping ({reason})")
        self._notifier.stopping()
        if self.rollout is not None:
            rollout, self.rollout = self.rollout, None
            if rollout.is_start:
                self._failed_start = rollout.generation
                self._readiness.failed(f"stopped while starting ({reason})", "")
            else:
                rollout.generation.retire()
            for request in rollout.waiters:
                request.refuse("the service is stopping")
        for request in self._reload_wanted or ():
            request.refuse("the service is stopping")
        self._drain_all(self.shutdown)

    def _drain_all(self, shutdown: Shutdown) -> None:
        now = time.monotonic()
        for child in self.children:
            timeout = shutdown.timeout(child.group.spec)
            grace = 0.0 if shutdown.urgency is Urgency.NOW else KILL_GRACE
            child.drain("stop", timeout, now + timeout + grace)
        for group in self.groups.values():
            for slot in group.sockets():
                slot.close()

    def _unlink_all(self) -> bool:
        sockets = [group.unix for group in self.groups.values() if group.unix is not None]
        template = self.accepted or self._failed_start
        return template is not None and template.unlink(sockets)

    def _call_hook(self, name: str, arguments: list[Any] | None = None) -> bool:
        """Have the application's hook run in the template; False when there is none to ask."""
        generation = self.accepted
        if generation is None or not generation.serving:
            return False
        return generation.tell({"do": "hook", "name": name, "arguments": arguments or []})

    def _leave(self, shutdown: Shutdown) -> int:
        self.journal.info("stopped")
        for generation in self._nursery.generations:
            generation.kill()
            generation.lost()
        for request in shutdown.waiters:
            request.reply(ok=True)
        self._commands.close()
        self._reactor.close()
        return shutdown.code
