"""What the operating system knows of processes: states, limits, ownership of a port.

Linux answers through prctl(2) and /proc. Elsewhere each function says that it does not know
(`False` or `None`), and its caller does without: nothing here raises for a process that has
gone or a platform that cannot tell.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import resource
import sys

__all__ = [
    "cpu_time",
    "is_own_child",
    "open_descriptors",
    "port_owner",
    "process_state",
    "raise_descriptor_limit",
    "restrict_core_dumps",
    "set_child_subreaper",
    "set_no_new_privs",
    "set_parent_death_signal",
    "start_time",
]

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

# Places in /proc/<pid>/stat, counted from the state, which proc(5) calls field 3.
_STATE, _USER_TIME, _SYSTEM_TIME, _START_TIME = 0, 11, 12, 19

_TCP_LISTEN = "0A"
_UNLIMITED_TRY = 65536
"""Asked for where the hard limit is endless but the kernel refuses that as a soft one."""

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


_MAX_COMMAND = 60
"""Characters of a command line that an error message shows."""


def set_child_subreaper() -> bool:
    """Make orphans below this process its children; return whether the system can."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(signal_number: int) -> bool:
    """Have `signal_number` sent to this process when its parent ends.

    The kernel forgets it when the user changes, and it does not fire for a parent that has
    ended already: set it after the drop of privileges and look at the parent afterwards.
    """
    return _prctl(_PR_SET_PDEATHSIG, signal_number)


def set_no_new_privs() -> bool:
    """Forbid this process and its children to gain privileges by execve (Q-10)."""
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        # Some interpreters are built without it.
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (ImportError, OSError, AttributeError):
        return False
    # The kernel reads five words and refuses stray bits in the unused ones.
    words = [ctypes.c_ulong(word) for word in (value, 0, 0, 0)]
    return bool(prctl(ctypes.c_int(option), *words) == 0)


def process_state(pid: int) -> str | None:
    """Return the state letter of a process (R, S, D, T, t, Z ...), None when unknown."""
    fields = _stat_fields(pid)
    return fields[_STATE] if fields else None


def start_time(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None when unknown.

    Pid and start time together name a process for ever; the pid alone is used again.
    """
    fields = _stat_fields(pid)
    return int(fields[_START_TIME]) if fields else None


def cpu_time(pid: int) -> float | None:
    """Return the seconds of processor time that a process has used; None when unknown."""
    fields = _stat_fields(pid)
    if not fields:
        return None
    ticks = int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat_fields(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The command name stands in parentheses and may hold parentheses and spaces itself: only
    # the last one ends it.
    fields = line.rpartition(b")")[2].decode("ascii", "replace").split()
    return fields if len(fields) > _START_TIME else None


def open_descriptors(pid: int | str = "self") -> int | None:
    """Return how many descriptors a process has open; None when unknown."""
    own = pid in ("self", os.getpid())
    for directory in (f"/proc/{pid}/fd", "/dev/fd" if own else ""):
        with contextlib.suppress(OSError):
            # Listing one's own descriptors takes one.
            return len(os.listdir(directory)) - own
    return None


def raise_descriptor_limit() -> tuple[int, int]:
    """Raise the soft limit of open descriptors to the hard one (C-6).

    Returns:
        The soft and the hard limit as they are afterwards.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _UNLIMITED_TRY):
        if soft in (resource.RLIM_INFINITY, wanted):
            break
        if soft > wanted >= 0:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def restrict_core_dumps() -> None:
    """Keep the memory of this process and its children out of core files (Q-7, Q-10)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_own_child(pid: int) -> bool:
    """Return whether `pid` is a child of ours that nobody has reaped yet (P-10).

    Such a pid cannot be given to another process, so a signal to it goes where it should.
    Where the system cannot look without reaping, this says only that the process exists.
    """
    if pid <= 0:
        return False
    try:
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        else:
            os.kill(pid, 0)
    except (ChildProcessError, ProcessLookupError, PermissionError, OverflowError):
        return False
    return True


def port_owner(host: str, port: int) -> tuple[int, str] | None:
    """Find the process that listens on a TCP port.

    Args:
        host: The address that was asked for; listeners on addresses that do not collide with
            it are passed over. A name stands for every address.
        port: The port.

    Returns:
        Its pid and command name; None when nobody listens or we may not see who.
    """
    inodes = _listening_inodes(host, port)
    if not inodes:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    for pid in _all_pids():
        if _holds_any(pid, links):
            return pid, _command_name(pid)
    return None


def _listening_inodes(host: str, port: int) -> set[str]:
    wanted = _parse_ip(host)
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [row.split() for row in file.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if len(row) < 10 or row[3] != _TCP_LISTEN:
                continue
            address, _, hex_port = row[1].partition(":")
            if int(hex_port, 16) == port and _collide(wanted, _kernel_ip(address)):
                inodes.add(row[9])
    return inodes


def _parse_ip(host: str) -> _Ip | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _kernel_ip(text: str) -> _Ip:
    """Read an address as /proc/net prints it: words of 32 bits in the machine's order."""
    words = [int(text[place : place + 8], 16) for place in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _collide(wanted: _Ip | None, taken: _Ip) -> bool:
    if wanted is None or wanted == taken or wanted.is_unspecified:
        return True
    # [::] usually takes the IPv4 port too; an IPv4 wildcard leaves IPv6 alone.
    return taken.is_unspecified and taken.version >= wanted.version


def _all_pids() -> list[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _holds_any(pid: int, links: set[str]) -> bool:
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return False
    for name in names:
        # A descriptor may be closed between the listing and the look at it.
        with contextlib.suppress(OSError):
            if os.readlink(f"{directory}/{name}") in links:
                return True
    return False


def _command_name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            name = file.read(_MAX_COMMAND).replace("\0", " ").strip()
        if not name:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().rstrip("\n")
    except OSError:
        return "?"
    # A process names itself: nothing of it may move the cursor of a terminal.
    return "".join(char if char.isprintable() else "?" for char in name)
