"""The processes of one Worker: what is wanted, what is there, and when to try again.

A `Slot` is a place 0..count-1 with a listening socket that outlives every process in it. It
has at most one process that serves (`current`) and one that is about to replace it (`next`).
What the group wants is its `spec` and its `generation`; the supervisor closes the gap.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import socket

    from .child import Child
    from .generation import Generation
    from .manifest import WorkerSpec

__all__ = ["Backoff", "Group", "Slot", "UnixSocket"]

UnixSocket: TypeAlias = tuple[str, int, int]
"""Path, device and inode of a Unix socket, as the template that bound it said."""


class Backoff:
    """How long to wait before a crashed process is started again.

    More than `BURST` exits within `WINDOW` seconds are a crash loop: from then on each start
    waits twice as long as the last, from 0.1 s to 10 s, until a whole window passes with no
    more than `BURST` exits.
    """

    BURST = 5
    WINDOW = 10.0
    FIRST = 0.1
    LONGEST = 10.0

    def __init__(self) -> None:
        self._exits: deque[float] = deque()
        self._delay = 0.0

    @property
    def looping(self) -> bool:
        """Whether the group is in a crash loop."""
        return self._delay > 0

    def exited(self, now: float) -> float:
        """Note an exit nobody asked for; return the seconds to wait before the next start."""
        self.calm(now)
        self._exits.append(now)
        if len(self._exits) > self.BURST or self._delay:
            self._delay = min(self.LONGEST, self._delay * 2 or self.FIRST)
        return self._delay

    def calm(self, now: float) -> None:
        """Forget exits that lie behind the window, and the loop with the last of them."""
        while self._exits and now - self._exits[0] > self.WINDOW + self._delay:
            self._exits.popleft()
        if not self._exits:
            self._delay = 0.0


class Slot:
    """One place of a Worker: its socket, its process, and who serves it meanwhile."""

    def __init__(self, slot_id: int, sock: socket.socket | None) -> None:
        self.id = slot_id
        self.sock = sock
        self.current: Child | None = None
        self.next: Child | None = None
        self.retry_at: float = 0.0
        self.lent_to: Child | None = None
        self.unserved_since: float | None = None
        self.removed = False

    @property
    def served(self) -> bool:
        """Whether a process of this very slot takes its connections."""
        return self.current is not None and self.current.serving

    def forget(self, child: Child) -> None:
        """Take a process out of the slot."""
        self.current = None if self.current is child else self.current
        self.next = None if self.next is child else self.next

    def listen(self, backlog: int) -> None:
        """Let so many connections wait in the kernel; the queue itself is kept."""
        if self.sock is not None:
            self.sock.listen(backlog)

    def close(self) -> None:
        """Close the master's copy of the socket."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Group:
    """All slots of one Worker, and the generation of code that they should run."""

    def __init__(self, spec: WorkerSpec, generation: Generation) -> None:
        self.spec = spec
        self.generation = generation
        self.slots: list[Slot] = []
        self.removed: list[Slot] = []
        """Slots that count no longer covers; their sockets stay lent until the service stops."""
        self.exits: Counter[str] = Counter()
        self.backoff: Backoff = Backoff()
        self.unix: UnixSocket | None = None
        self.shared = False
        """Whether all slots have copies of one socket, so that lending has no meaning."""

    @property
    def name(self) -> str:
        """The Worker's name, by which reload matches it."""
        return self.spec.name

    @property
    def listen(self) -> str | None:
        """The address that is really listened on, with the port that was picked for 0."""
        address = self.spec.address
        sock = self.slots[0].sock if self.slots else None
        if address is None:
            return None
        if address.transport == "tcp" and address.port == 0 and sock is not None:
            address = address.with_port(sock.getsockname()[1])
        return str(address)

    @property
    def children(self) -> list[Child]:
        """The processes that serve or will; draining ones belong to no slot any more."""
        both = ((slot.current, slot.next) for slot in self.slots)
        return [child for pair in both for child in pair if child is not None]

    @property
    def wanted(self) -> list[Slot]:
        """The slots that shall have processes; what a reload removes is none of them."""
        return self.slots[: self.spec.count]

    @property
    def settled(self) -> bool:
        """Whether each slot has a ready process of the wanted generation."""
        return all(
            slot.next is None
            and slot.current is not None
            and slot.current.ready_at is not None
            and not self.outdated(slot.current)
            for slot in self.wanted
        )

    def outdated(self, child: Child) -> bool:
        """Whether a reload should replace this process."""
        return self.spec.reloadable and child.generation is not self.generation

    @property
    def rolling(self) -> Slot | None:
        """The slot whose turn it is in a reload: the one in change, else the next outdated."""
        for slot in self.wanted:
            current = slot.current
            replaced = slot.next is not None or (current and current.quiesce_by is not None)
            starting = current and current.ready_at is None and not self.outdated(current)
            if replaced or starting:
                return slot
        for slot in self.wanted:
            if slot.current is not None and self.outdated(slot.current):
                return slot
        return None

    def retire(self, slot: Slot) -> None:
        """Take a slot out of the count; the queue that it has stays served."""
        self.slots.remove(slot)
        slot.removed = True
        if slot.sock is not None:
            self.removed.append(slot)
            self.removed.sort(key=lambda removed: removed.id)

    def take_back(self, slot_id: object, child: Child) -> None:
        """Note that a loan did not reach its borrower; another try follows a while later."""
        for slot in self.sockets():
            if slot.id == slot_id and slot.lent_to is child:
                slot.lent_to = None
                slot.unserved_since = None

    def sockets(self) -> list[Slot]:
        """Every slot whose queue has to be served, removed ones included."""
        return [slot for slot in (*self.slots, *self.removed) if slot.sock is not None]
