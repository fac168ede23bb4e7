"""No client waits on a dead slot.

Each slot's queue has to be read by someone. While its own process cannot (crashed, stopped,
busy, backing off, or counted away), a sibling gets a copy of the socket and accepts from it
too; when the slot is served again the sibling is asked to let go. The kernel keeps filling
the queue all the time, so nothing is refused and nothing is reset.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .child import Child
    from .group import Group, Slot

__all__ = ["LEND_AFTER", "balance", "take_back"]

LEND_AFTER = 0.2
"""Seconds that a slot may go unserved first: a crashed worker is usually back in less."""


def balance(group: Group, now: float) -> None:
    """Lend the sockets of unserved slots, and ask back those of served ones."""
    if group.shared:
        return
    for slot in group.sockets():
        if slot.served and not slot.removed:
            slot.unserved_since = None
            take_back(slot)
            continue
        if slot.unserved_since is None:
            slot.unserved_since = now
        if slot.lent_to is not None and slot.lent_to.serving:
            continue
        take_back(slot)
        if now - slot.unserved_since >= LEND_AFTER or slot.removed:
            _lend(slot, _borrower(group, slot))


def _borrower(group: Group, slot: Slot) -> Child | None:
    """Return the serving sibling that holds the fewest other slots' sockets."""
    loans = Counter(id(other.lent_to) for other in group.sockets() if other.lent_to is not None)
    serving = [
        other.current
        for other in group.slots
        if other is not slot and other.current is not None and other.current.serving
    ]
    return min(serving, key=lambda child: loans[id(child)], default=None)


def _lend(slot: Slot, child: Child | None) -> None:
    if child is None or slot.sock is None:
        return
    if child.tell({"do": "lend", "slot": slot.id}, [slot.sock.fileno()]):
        slot.lent_to = child


def take_back(slot: Slot) -> None:
    """Ask for a slot's socket back, if it is lent."""
    if slot.lent_to is not None:
        slot.lent_to.tell({"do": "return", "slot": slot.id})
        slot.lent_to = None
