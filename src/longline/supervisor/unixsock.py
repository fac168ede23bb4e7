"""Unix sockets, bound and removed by the template.

Not by the master: with `--user` the path is the application's choice, and root must neither
create nor remove what it names. The inode goes up to the master with the socket and comes
back with the order to remove it, since the template that bound it may long be another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..address import parse_address
from ..listening import open_unix, socket_inode, unlink_unix
from .privilege import resolve

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

__all__ = ["bind_socket", "unlink_sockets"]


def bind_socket(
    listen: str, backlog: int, owner: str | None, mode: int
) -> tuple[socket.socket, tuple[int, int]]:
    """Create the socket of a `...+unix://` address; return it with its device and inode.

    Raises:
        StartError: The path cannot be had; the text says why.
    """
    address = parse_address(listen)
    identity = resolve(owner) if owner else None
    sock = open_unix(
        address,
        backlog=backlog,
        mode=mode,
        owner_uid=identity.uid if identity else None,
        owner_gid=identity.gid if identity else None,
    )
    return sock, socket_inode(address.path)


def unlink_sockets(sockets: Iterable[tuple[str, int, int]]) -> None:
    """Remove each path that is still the socket with that device and inode."""
    for path, device, inode in sockets:
        unlink_unix(path, (device, inode))
