"""Which processes are past a deadline, hung or stuck, and what is done about it.

Workers are judged by their beats (`child`). A template has none, since the application's
hooks run in it; it is stuck when a worker that it shall fork does not say hello in time.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from .child import State
from .lending import LEND_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .child import Child
    from .generation import Generation
    from .group import Group
    from .journal import Journal

__all__ = ["FORK_TIMEOUT", "judge_templates", "judge_workers", "patience"]

FORK_TIMEOUT = 10.0
"""Seconds from the order to fork until the worker has to say hello; usually milliseconds."""


def judge_workers(children: Iterable[Child], now: float, journal: Journal) -> None:
    """Act on silence and on deadlines."""
    for child in children:
        if child.check(now):
            journal.error(f"{child} is hung: its loop is silent; its stacks follow")
        if child.kill_at is not None and now >= child.kill_at:
            child.kill_at = None
            journal.warning(f"{child} missed its deadline and is killed")
            child.signal(signal.SIGKILL)
            if child.pid is None:
                # It was never forked: with the template, the order to do so goes away.
                child.generation.kill_at = now
        unborn = child.pid is None and child.state is State.STARTING
        if unborn and now - child.started_at > FORK_TIMEOUT and child.generation.kill_at is None:
            journal.error(f"the template does not fork {child}: it is stuck, and replaced")
            child.generation.kill_at = now


def judge_templates(generations: Iterable[Generation], now: float) -> None:
    """End the templates that should be gone by now."""
    for generation in generations:
        if generation.kill_at is not None and now >= generation.kill_at:
            generation.kill_at = None
            generation.give_up()


def patience(
    groups: Iterable[Group],
    children: Iterable[Child],
    generations: Iterable[Generation],
    now: float,
    longest: float,
) -> float:
    """Return the seconds until something is due, at most `longest`.

    What is overdue waits for an event, not for the clock: it was tried in this turn.
    """
    due = [now + longest]
    for child in children:
        due += [at for at in (child.kill_at, child.quiesce_by) if at is not None]
    due += [generation.kill_at for generation in generations if generation.kill_at is not None]
    for group in groups:
        for slot in group.sockets():
            if slot.unserved_since is not None:
                due.append(slot.unserved_since + LEND_AFTER)
        due += [slot.retry_at for slot in group.wanted if slot.current is None]
    return min(at for at in due if at > now) - now
