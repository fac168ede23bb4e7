"""Putting a generation of code into service: the start, and every reload.

    loading --manifest--> binding --sockets--> rolling --all ready--> done
       |                     |                    |
       +---------------------+--------------------+--> failed: everything as before

Nothing is changed before all of it can be: the script imported, the manifest checked, the
sockets open. Then groups are told what they should be, and the supervisor's reconciling does
the work, slot by slot. A replacement that cannot start fails the rollout; the groups are
told to be what they were, and the same reconciling rolls them back. What a reload removes
(Workers, slots) goes only when all else is done.
"""

from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Any

from ..errors import StartError
from .group import Backoff, Group, Slot
from .lending import take_back
from .manifest import Manifest, place_of
from .ports import Activation, Ports

if TYPE_CHECKING:
    import socket

    from .control import Request
    from .generation import Generation
    from .group import UnixSocket
    from .manifest import WorkerSpec

__all__ = ["Phase", "Rollout"]


SUPERSEDE_AFTER = 5.0
"""Seconds of loading after which a reload gives way to a newer one."""


class Phase(enum.StrEnum):
    """How far a rollout has come."""

    LOADING = "loading"
    BINDING = "binding"
    ROLLING = "rolling"
    DONE = "done"
    FAILED = "failed"


class Rollout:
    """One generation on its way into service.

    Args:
        generation: The new code, its template started.
        previous: The code in service; None at the start.
        groups: The supervisor's groups, changed in place.
        activation: Sockets that were passed down at the start.
        deadline: Monotonic time by which all must be ready; None for never.
        graceful: Whether old processes get the long deadline.
    """

    def __init__(
        self,
        generation: Generation,
        previous: Generation | None,
        groups: dict[str, Group],
        activation: Activation,
        *,
        deadline: float | None,
        graceful: bool = False,
    ) -> None:
        self.generation = generation
        self.previous = previous
        self.deadline = deadline
        self.graceful = graceful
        self.phase: Phase = Phase.LOADING
        self._began = time.monotonic()
        self.waiters: list[Request] = []
        self.added: list[Group] = []
        self.leaving: list[Group] = []
        self.leaving_slots: list[tuple[Group, Slot]] = []
        self._groups = groups
        self._ports = Ports(generation, activation)
        self._former: list[_Former] = []

    @property
    def is_start(self) -> bool:
        """Whether there is nothing to fall back to."""
        return self.previous is None

    def loaded(self, raw: Any) -> None:
        """Take the manifest and open its sockets.

        Raises:
            StartError: The manifest cannot be, or a port cannot be had.
        """
        manifest = Manifest.from_json(raw)
        self.generation.manifest = manifest
        if self.deadline is None and manifest.limits.ready_timeout is not None:
            self.deadline = time.monotonic() + manifest.limits.ready_timeout
        self.phase = Phase.BINDING
        for spec in manifest.workers.values():
            group = self._groups.get(spec.name)
            if group is not None and group.spec.listen != spec.listen and not spec.reloadable:
                # Its processes stay, and would go on to listen where they do.
                raise StartError(
                    f"{spec.name!r} is not reloadable: a restart alone changes its address"
                )
            if group is not None and self._differs_in_options(group.spec, spec):
                raise StartError(
                    f"{spec.name!r}: a restart alone changes the options of a socket that is open"
                )
            self._ports.open(spec, group, self._holder(spec))
        self._go_on()

    @staticmethod
    def _differs_in_options(old: WorkerSpec, new: WorkerSpec) -> bool:
        return old.listen == new.listen and old.socket_options != new.socket_options

    def _holder(self, spec: WorkerSpec) -> Group | None:
        """Return the group that listens where `spec` wants to."""
        place = "" if spec.address is None else place_of(spec.address)
        for group in self._groups.values():
            address = group.spec.address
            if place and address is not None and place_of(address) == place:
                return group
        return None

    def bound(self, answer: dict[str, Any], fds: list[int]) -> None:
        """Take one Unix socket, or a refusal, from the template.

        Raises:
            StartError: It could not be bound.
        """
        self._ports.bound(answer, fds)
        self._go_on()

    def _go_on(self) -> None:
        if self._ports.complete and self.phase is Phase.BINDING:
            self._commit()
            self.phase = Phase.ROLLING

    def _commit(self) -> None:
        """Tell every group what it should be from now on."""
        manifest = self.generation.manifest
        if manifest is None:
            raise StartError("a generation without a manifest cannot be rolled out")
        for spec in manifest.workers.values():
            group = self._groups.get(spec.name)
            if group is None:
                group = self._groups[spec.name] = Group(spec, self.generation)
                self.added.append(group)
            self._adopt(group, spec)
        self.leaving = [g for name, g in self._groups.items() if name not in manifest.workers]

    def _adopt(self, group: Group, spec: WorkerSpec) -> None:
        self._former.append(_Former(group))
        sockets, shared = self._ports.take(spec.name)
        moved = group.spec.listen != spec.listen
        if not moved and spec.backlog != group.spec.backlog:
            for slot in group.sockets():
                slot.listen(spec.backlog)
        group.spec, group.generation = spec, self.generation
        # The new code may be what ends a crash loop: it gets a fresh chance.
        group.backoff = Backoff()
        for slot in group.slots:
            slot.retry_at = 0.0
        if moved or not group.slots:
            group.shared = shared
            group.unix = self._ports.unix.get(spec.name)
        self._fill(group, sockets, moved)
        for slot in group.slots[spec.count :]:
            self.leaving_slots.append((group, slot))

    @staticmethod
    def _fill(group: Group, sockets: list[socket.socket], moved: bool) -> None:
        """Give the group's slots their sockets, and add the slots that are missing."""
        if moved:
            for slot in group.slots:
                take_back(slot)
                slot.sock = _deal(sockets, slot.id, group.shared)
        shared_model = group.slots[0].sock if group.slots and group.shared else None
        first_new = 0 if moved else len(group.slots) + len(group.removed)
        for slot_id in range(len(group.slots), group.spec.count):
            if not moved and group.removed and group.removed[0].id == slot_id:
                slot = group.removed.pop(0)
                slot.removed = False
                group.slots.append(slot)
            elif shared_model is not None and not moved:
                group.slots.append(Slot(slot_id, shared_model.dup()))
            else:
                group.slots.append(Slot(slot_id, _deal(sockets, slot_id - first_new, group.shared)))
        if group.shared and sockets:
            sockets[0].close()

    def supersedable(self, now: float) -> bool:
        """Whether a newer reload may take its place.

        Nothing has been changed while it loads. It gets some time for that, lest a storm of
        reloads kept every one of them from being done.
        """
        loading = self.phase is Phase.LOADING and not self.is_start
        return loading and now - self._began >= SUPERSEDE_AFTER

    @property
    def orphaned_sockets(self) -> list[UnixSocket]:
        """The Unix sockets that were in use, or made, and that no group has any more."""
        known = {former.unix for former in self._former} | {group.unix for group in self.leaving}
        known |= set(self._ports.unix.values())
        kept = {group.unix for group in self._groups.values()}
        return [found for found in known - kept if found is not None]

    @property
    def settled(self) -> bool:
        """Whether every slot of the new code is ready."""
        manifest = self.generation.manifest
        if self.phase is not Phase.ROLLING or manifest is None:
            return False
        return all(self._groups[name].settled for name in manifest.workers)

    def fail(self) -> None:
        """Give up: the groups shall be what they were."""
        self.phase = Phase.FAILED
        self._ports.close()
        self.leaving = list(self.added)
        self.leaving_slots = []
        for former in self._former:
            if former.group not in self.added:
                former.restore()
                self.leaving_slots += [(former.group, slot) for slot in former.surplus]

    def finish(self) -> None:
        """Note that the new code is in service, and close the ports it no longer has."""
        self.phase = Phase.DONE
        for former in self._former:
            if former.moved and former.group not in self.added:
                former.close()


class _Former:
    """What a group was before a rollout changed it."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._spec = group.spec
        self._generation = group.generation
        self._shared = group.shared
        self.unix = group.unix
        self._sockets = [slot.sock for slot in group.slots]

    @property
    def moved(self) -> bool:
        """Whether the group listens somewhere else now."""
        return self.group.spec.listen != self._spec.listen

    @property
    def surplus(self) -> list[Slot]:
        """The slots that were added."""
        return self.group.slots[len(self._sockets) :]

    def restore(self) -> None:
        """Make the group what it was, but for the slots that were added."""
        group = self.group
        for slot in self.surplus if self.moved else ():
            take_back(slot)
            slot.close()
        group.spec, group.generation = self._spec, self._generation
        group.shared, group.unix = self._shared, self.unix
        for slot, former in zip(group.slots, self._sockets, strict=False):
            if former is not slot.sock:
                take_back(slot)
                slot.close()
                slot.sock = former

    def close(self) -> None:
        """Close the sockets of the place that the group has left."""
        for sock in filter(None, self._sockets):
            sock.close()
        for slot in self.group.removed:
            take_back(slot)
            slot.close()
        self.group.removed.clear()


def _deal(sockets: list[socket.socket], index: int, shared: bool) -> socket.socket | None:
    """Return the socket of a slot: its own, or a copy of the one that all share."""
    if shared and sockets:
        return sockets[0].dup()
    # A slot that is about to go has none in the new place.
    return sockets[index] if index < len(sockets) else None
