"""Opening the sockets that a generation of code asks for, before anything is changed.

All of a manifest's new sockets are opened first. Only when every one is there does the
supervisor change a group, so that a reload which cannot have its ports changes nothing.
Unix sockets are bound by the template (`unixsock`), whose answers come one by one.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from ..errors import StartError
from ..listening import more_tcp, open_tcp

if TYPE_CHECKING:
    from .generation import Generation
    from .group import Group, UnixSocket
    from .manifest import WorkerSpec

__all__ = ["Activation", "Ports"]


class Activation:
    """Sockets that systemd passed down, each handed to the Worker that it fits."""

    def __init__(self, passed: list[tuple[str, socket.socket]]) -> None:
        self._passed = passed
        for _, sock in passed:
            # `dup` gives a copy this object's mode, and with it every copy that workers have.
            sock.setblocking(False)

    def take(self, spec: WorkerSpec) -> socket.socket | None:
        """Return a copy of the socket named like the Worker, or bound to its address."""
        for name, sock in self._passed:
            if name == spec.name or self._is_bound_to(sock, spec):
                return sock.dup()
        return None

    @staticmethod
    def _is_bound_to(sock: socket.socket, spec: WorkerSpec) -> bool:
        address = spec.address
        if address is None:
            return False
        bound = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            return bool(bound == address.path)
        return (address.host, address.port) == tuple(bound[:2])


class Ports:
    """The sockets that one rollout adds: opened here, then taken by the groups, or closed."""

    def __init__(self, generation: Generation, activation: Activation) -> None:
        self._generation = generation
        self._activation = activation
        self._opened: dict[str, list[socket.socket]] = {}
        self._shared: set[str] = set()
        self._awaited: dict[str, WorkerSpec] = {}
        self.unix: dict[str, UnixSocket] = {}
        """Path, device and inode of each Unix socket, by Worker."""

    @property
    def complete(self) -> bool:
        """Whether no Unix socket is awaited from the template any more."""
        return not self._awaited

    def open(self, spec: WorkerSpec, group: Group | None, holder: Group | None) -> None:
        """Open what `spec` needs beyond what its group has.

        Args:
            spec: What shall be.
            group: What the Worker of that name has.
            holder: Who listens in the wanted place now, maybe under another name or scheme:
                copies of its sockets keep its queues.

        Raises:
            StartError: A port cannot be had; the text says why.
        """
        address = spec.address
        if address is None:
            return
        if group is not None and group.spec.listen == spec.listen:
            kept = len(group.slots) + len(group.removed)
            if kept < spec.count and not group.shared:
                self._opened[spec.name] = self._more(group, spec.count - kept, spec)
            return
        if holder is not None:
            self._copy(holder, spec)
            return
        passed = self._activation.take(spec)
        if passed is not None:
            self._opened[spec.name] = [passed]
            self._shared.add(spec.name)
        elif address.transport == "unix":
            self._awaited[str(spec.listen)] = spec
            self._shared.add(spec.name)
            order = {
                "do": "bind",
                "listen": spec.listen,
                "backlog": spec.backlog,
                "owner": spec.user,
                "mode": spec.unix_mode,
            }
            self._generation.tell(order)
        else:
            opened = open_tcp(address, spec.count, backlog=spec.backlog, reuse_port=spec.reuse_port)
            self._opened[spec.name] = opened
            if not _is_grouped(opened[0]):
                self._shared.add(spec.name)

    def _copy(self, holder: Group, spec: WorkerSpec) -> None:
        """Take over the place of a Worker that changes or goes."""
        slots = holder.sockets()[: 1 if holder.shared else spec.count]
        copies = self._opened[spec.name] = [slot.sock.dup() for slot in slots if slot.sock]
        if holder.shared:
            self._shared.add(spec.name)
        elif len(copies) < spec.count:
            copies += self._more(holder, spec.count - len(copies), spec)
        if holder.unix is not None:
            self.unix[spec.name] = holder.unix

    @staticmethod
    def _more(group: Group, count: int, spec: WorkerSpec) -> list[socket.socket]:
        model = group.slots[0].sock
        return [] if model is None else more_tcp(model, count, spec.backlog)

    def bound(self, answer: dict[str, Any], fds: list[int]) -> None:
        """Take the template's answer for a Unix socket, and its descriptor out of `fds`.

        Raises:
            StartError: The template could not bind it, or answered what was not asked.
        """
        listen, error = answer.get("listen"), answer.get("error")
        spec = self._awaited.pop(listen, None) if isinstance(listen, str) else None
        if isinstance(error, str):
            raise StartError(error[:500])
        if spec is None or spec.listen is None or len(fds) != 1:
            raise StartError("the template sent a socket that nobody asked for, or none")
        sock = _adopt_unix(fds[0], spec.listen)
        fds.clear()
        self._opened[spec.name] = [sock]
        match answer.get("inode"):
            case [int(device), int(number)] if spec.address is not None:
                self.unix[spec.name] = (spec.address.path, device, number)

    def take(self, name: str) -> tuple[list[socket.socket], bool]:
        """Give the new sockets of a Worker away, and whether its slots share one."""
        return self._opened.pop(name, []), name in self._shared

    def close(self) -> None:
        """Close what nobody took."""
        for sockets in self._opened.values():
            for sock in sockets:
                sock.close()
        self._opened.clear()


def _is_grouped(sock: socket.socket) -> bool:
    """Whether further sockets can join this one's SO_REUSEPORT group."""
    option = getattr(socket, "SO_REUSEPORT", None)
    return option is not None and bool(sock.getsockopt(socket.SOL_SOCKET, option))


def _adopt_unix(fd: int, listen: str) -> socket.socket:
    """Return the descriptor as the listening Unix socket that it should be, or leave it alone."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        raise StartError(f"the template sent no socket for {listen}") from None
    listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.family != socket.AF_UNIX or not listening:
        sock.detach()
        raise StartError(f"the template sent another kind of socket for {listen}")
    sock.setblocking(False)
    return sock
