"""Opening the sockets that a service listens on.

On Linux every slot of a Worker has a socket of its own in one SO_REUSEPORT group, and the
kernel spreads connections over the group. SO_REUSEPORT alone would let a second start of the
same user join the group and steal connections in silence. So the first socket is bound
without it, which fails when the port is taken by anybody; only then is the group opened, and
the other slots join it.

A Unix socket is created by bind(2) with the mode that the umask leaves, so the umask is what
keeps it private from its first moment (C-9): a chmod afterwards would come too late.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat
import struct
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from . import osproc
from .errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address

__all__ = [
    "more_tcp",
    "open_tcp",
    "open_unix",
    "queue_state",
    "resolve_host",
    "socket_inode",
    "unlink_unix",
]

_SPREADS = sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")
"""Elsewhere SO_REUSEPORT exists, but feeds all connections to one of the sockets."""

_SO_MEMINFO = 55

_KEEPALIVE_SECONDS = 55
"""Below the 60 s after which many balancers and NAT routers forget a silent connection."""

_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


def open_tcp(
    address: Address,
    count: int,
    *,
    backlog: int,
    reuse_port: bool = True,
    join: bool = False,
    v6only: bool = False,
) -> list[socket.socket]:
    """Open the listening sockets of a TCP Worker.

    Args:
        address: Where to listen; port 0 lets the kernel pick one for all slots.
        count: The number of slots.
        backlog: Connections that may wait in each socket.
        reuse_port: Whether every slot gets its own socket, where the system spreads
            connections over them; otherwise one is shared.
        join: Whether sockets of the same user may listen there already, which share the port:
            siblings that open it themselves, and the process that a reload replaces.
        v6only: Whether an IPv6 wildcard leaves IPv4 alone.

    Returns:
        One socket per slot, or a single one; non-blocking and closed on exec.

    Raises:
        StartError: The port is in use (by whom, where it can be told) or may not be had, the
            host is unknown or not of this machine, or the descriptors do not suffice.
    """
    opened = _open_group(address, count, reuse_port, join, v6only)
    for sock in opened:
        _listen(sock, backlog, address, opened)
    return opened


def more_tcp(existing: socket.socket, count: int, backlog: int) -> list[socket.socket]:
    """Open `count` further sockets in the group of one that `open_tcp` made.

    Raises:
        StartError: The socket has no group, or the descriptors do not suffice.
    """
    where = existing.getsockname()
    label = f"port {where[1]}"
    if not _SPREADS or not existing.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        raise StartError(f"{label} is one shared socket: it has no further slots")
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = _join_group(existing)
            opened.append(sock)
            sock.listen(backlog)
    except OSError as error:
        _close(opened)
        reason = _too_many_files() if error.errno in _TOO_MANY_FILES else error.strerror
        raise StartError(f"cannot open another socket for {label}: {reason}") from None
    return opened


def queue_state(sock: socket.socket) -> tuple[int, int]:
    """Return the connections that wait in a listening TCP socket, and those it had to drop.

    Both 0 where the system does not tell. Of Linux: tcp_info.tcpi_unacked, which for a
    listening socket is its queue, and sk_meminfo[SK_MEMINFO_DROPS].
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        meminfo = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        return struct.unpack_from("=I", info, 24)[0], struct.unpack_from("=9I", meminfo)[8]
    except (OSError, AttributeError, struct.error):
        return 0, 0


def resolve_host(address: Address) -> Address:
    """Return a TCP address with its host's name replaced by the first of its IP addresses.

    Raises:
        StartError: The name is unknown.
    """
    if address.transport != "tcp":
        return address
    _, where = _look_up(address)
    return replace(address, host=where[0])


def _open_group(
    address: Address, count: int, reuse_port: bool, join: bool, v6only: bool
) -> list[socket.socket]:
    family, where = _look_up(address)
    opened: list[socket.socket] = []
    try:
        first = _new_socket(family, v6only)
        opened.append(first)
        if join and _SPREADS:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(where)
        if reuse_port and _SPREADS:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            while len(opened) < count:
                opened.append(_join_group(first))
    except OSError as error:
        _close(opened)
        _explain(error, address)
    return opened


def _look_up(address: Address) -> tuple[int, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise StartError(
            f"cannot listen on {address}: the host {address.host} is unknown ({error.strerror})"
        ) from None
    # One name may stand for both families, as localhost does; the older one always answers.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, where = found[0]
    return family, where  # type: ignore[return-value]  # of IPv6 it is a 4-tuple, passed on


def _new_socket(family: int, v6only: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_connection_options(sock)
    except OSError:
        sock.close()
        raise
    return sock


def _set_connection_options(sock: socket.socket) -> None:
    """Set on the listening socket what accepted connections inherit."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), _KEEPALIVE_SECONDS)


def _join_group(first: socket.socket) -> socket.socket:
    v6only = False
    if first.family == socket.AF_INET6:
        v6only = bool(first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    sock = _new_socket(first.family, v6only)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(first.getsockname())
    except OSError:
        sock.close()
        raise
    return sock


def _listen(
    sock: socket.socket, backlog: int, address: Address, opened: list[socket.socket]
) -> None:
    try:
        sock.listen(backlog)
    except OSError as error:
        # Two sockets may be bound before either listens; the second to listen learns it here.
        _close(opened)
        _explain(error, address)


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _explain(error: OSError, address: Address) -> NoReturn:
    """Raise the one line that a user can act on."""
    port = f"port {address.port} ({address})"
    if error.errno == errno.EADDRINUSE:
        owner = osproc.port_owner(address.host, address.port)
        by = f" by pid {owner[0]} ({owner[1]})" if owner else ""
        text = f"{port} is in use{by}"
    elif error.errno in (errno.EACCES, errno.EPERM):
        text = f"{port} may not be opened by this user"
        if 0 < address.port < 1024:
            text += (
                ": ports below 1024 are root's. Start as root with --user, grant "
                "CAP_NET_BIND_SERVICE, or take a higher port"
            )
    elif error.errno == errno.EADDRNOTAVAIL:
        text = f"{address.host} ({address}) is not an address of this machine"
    elif error.errno in _TOO_MANY_FILES:
        text = f"cannot listen on {address}: {_too_many_files()}"
    elif error.errno == errno.EAFNOSUPPORT:
        text = f"cannot listen on {address}: this machine has no such address family"
    else:
        text = f"cannot listen on {address}: {error.strerror}"
    raise StartError(text) from None


def _too_many_files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"too many open files (limit {soft}, at most {hard}: see ulimit -n)"


def open_unix(
    address: Address,
    *,
    backlog: int,
    mode: int = 0o600,
    owner_uid: int | None = None,
    owner_gid: int | None = None,
) -> socket.socket:
    """Open a listening Unix socket (C-9); a stale one at its path is replaced.

    The umask of the whole process changes for a moment: no other thread may make files.

    Args:
        address: Where to listen, an address with a `path`.
        backlog: Connections that may wait.
        mode: Permissions of the socket file; connecting takes the right to write.
        owner_uid: The owner to give it to, None for our own.
        owner_gid: The group to give it to, None for our own.

    Raises:
        StartError: Somebody listens there, or something that is no socket is there, or the
            path cannot be had.
    """
    _clear_the_way(address)
    given = owner_uid is not None or owner_gid is not None
    # Before it has its final group, that group's bits would be our own group's.
    first_mode = mode & 0o700 if given else mode
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound = False
    try:
        sock.setblocking(False)
        with _umask(0o777 & ~first_mode):
            sock.bind(address.path)
        bound = True
        if given:
            _give_away(address.path, owner_uid, owner_gid, mode)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        if bound:
            with contextlib.suppress(OSError):
                os.unlink(address.path)
        _explain_unix(error, address)
    return sock


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _clear_the_way(address: Address) -> None:
    """Remove a stale socket; refuse anything else that stands at the path."""
    path = address.path
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        _explain_unix(error, address)
    if stat.S_ISLNK(status.st_mode):
        raise StartError(f"cannot listen on {address}: a symbolic link is in its place")
    if not stat.S_ISSOCK(status.st_mode):
        raise StartError(f"cannot listen on {address}: something that is no socket is there")
    if _is_live(address):
        raise StartError(f"cannot listen on {address}: a running process listens there")
    try:
        _remove_socket(path, (status.st_dev, status.st_ino))
    except OSError as error:
        raise StartError(f"cannot remove the stale socket {path}: {error.strerror}") from None


def _is_live(address: Address) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            # Its queue is full, so it has one.
            return True
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                return True  # a datagram socket
            _explain_unix(error, address)
    return True


def _give_away(path: str, uid: int | None, gid: int | None, mode: int) -> None:
    """Change owner, then mode, of the very file at `path`, never of what a link names."""
    owner = (-1 if uid is None else uid, -1 if gid is None else gid)
    if not hasattr(os, "O_PATH"):
        os.chown(path, *owner, follow_symlinks=False)
        os.chmod(path, mode, follow_symlinks=False)
        return
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.EEXIST, "the socket was replaced while it was made")
        os.chown(f"/proc/self/fd/{fd}", *owner)
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _explain_unix(error: OSError, address: Address) -> NoReturn:
    reason = error.strerror
    directory = os.path.dirname(address.path)
    if error.errno == errno.ENOENT:
        reason = f"the directory {directory} does not exist"
    elif error.errno == errno.EADDRINUSE:
        reason = "another process has just made it"
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason = f"this user may not write {directory}, or not give the socket away"
    elif error.errno in _TOO_MANY_FILES:
        reason = _too_many_files()
    raise StartError(f"cannot listen on {address}: {reason}") from None


def socket_inode(path: str) -> tuple[int, int]:
    """Return device and inode of the socket at `path`, which `unlink_unix` asks for.

    Raises:
        StartError: There is no socket.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        raise StartError(f"the socket {path} is gone: {error.strerror}") from None
    if not stat.S_ISSOCK(status.st_mode):
        raise StartError(f"the socket {path} was replaced by something else")
    return status.st_dev, status.st_ino


def unlink_unix(path: str, inode: tuple[int, int]) -> bool:
    """Remove the socket at `path` if it is still the one of `inode`; return whether it was."""
    try:
        return _remove_socket(path, inode)
    except OSError:
        # It has gone, or its directory is not ours to write any more: then it stays.
        return False


def _remove_socket(path: str, inode: tuple[int, int]) -> bool:
    status = os.lstat(path)
    if not stat.S_ISSOCK(status.st_mode) or (status.st_dev, status.st_ino) != inode:
        return False
    os.unlink(path)
    return True
