"""Giving up root for good, and proving it (Q-8).

The order is forced: supplementary groups and the group can only be changed while still root,
so the user comes last. Each step may fail in silence on some system (a full user namespace,
a security module, a capability that was kept), therefore nothing counts until every id has
been read back and the attempts to become root again have been refused. Whatever is wrong
ends the start: going on as root would be less safety than was asked for.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Identity", "describe", "drop", "resolve", "user_name"]

_MAX_ID = 2**32 - 2
"""2**32 - 1 is -1 to the kernel, "leave as it is" in setresuid(2)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as the kernel knows one.

    Args:
        user: The name, or the number where the system has no name for it.
        uid: The user id.
        gid: The group id.
        groups: All group ids, `gid` among them.
    """

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def resolve(user: str, group: str | None = None) -> Identity:
    """Look up a user and a group, each a name or a number.

    Args:
        user: The user; a number needs no entry in the user database when `group` is given.
        group: The group, instead of the user's own.

    Raises:
        StartError: There is no such user or group.
    """
    entry = _user_entry(user)
    gid = entry.pw_gid if entry and group is None else _group_id(user, group)
    if entry is None:
        return Identity(user, _number(user, "user"), gid, (gid,))
    groups = tuple(sorted({gid, *os.getgrouplist(entry.pw_name, gid)}))
    return Identity(entry.pw_name, entry.pw_uid, gid, groups)


def _user_entry(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user)
    except (KeyError, ValueError):
        pass
    try:
        return pwd.getpwuid(_number(user, "user"))
    except KeyError:
        return None


def _group_id(user: str, group: str | None) -> int:
    if group is None:
        raise StartError(f"user {user} is not in the user database: name a group too")
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        return _number(group, "group")


def _number(text: str, kind: str) -> int:
    # Ten digits hold every id; more would only be work for int().
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID):
        raise StartError(f"no such {kind}: {text}")
    return int(text)


def drop(identity: Identity) -> None:
    """Become `identity` for good and set HOME, USER and LOGNAME.

    A process that runs as that user and group already only gets the environment. A
    parent-death signal has to be set after this, the kernel clears it.

    Raises:
        StartError: We may not, or any id or group is not what was asked for afterwards, or
            root can be had back. The process must exit then: it is in no known state.
    """
    home = _home(identity.uid)
    if not _has_ids(identity):
        if os.geteuid() != 0:
            raise StartError(
                f"cannot become user {identity.user}: only root can (this is {describe()})"
            )
        _change(identity)
        _verify(identity)
    if identity.uid != 0:
        _prove_no_way_back(identity)
    os.environ.update(HOME=home, USER=identity.user, LOGNAME=identity.user)


def _home(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir or "/"
    except KeyError:
        return "/"


def _has_ids(identity: Identity) -> bool:
    if _user_ids() != {identity.uid} or _group_ids() != {identity.gid}:
        return False
    # Root can set its groups, so it has to; others keep those of their login.
    return identity.uid != 0 or set(os.getgroups()) == set(identity.groups)


def _user_ids() -> set[int]:
    return set(os.getresuid()) if hasattr(os, "getresuid") else {os.getuid(), os.geteuid()}


def _group_ids() -> set[int]:
    return set(os.getresgid()) if hasattr(os, "getresgid") else {os.getgid(), os.getegid()}


def _change(identity: Identity) -> None:
    uid, gid = identity.uid, identity.gid
    try:
        os.setgroups(identity.groups)
        if hasattr(os, "setresuid"):
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        else:
            # For root these set the real, the effective and the saved id (setuid(2)).
            os.setgid(gid)
            os.setuid(uid)
    except OSError as error:
        raise StartError(f"cannot become user {identity.user}: {error.strerror}") from None


def _verify(identity: Identity) -> None:
    if _user_ids() != {identity.uid} or _group_ids() != {identity.gid}:
        raise StartError(f"cannot become user {identity.user}: the system left us {describe()}")
    # Some systems list the effective group among the supplementary ones, some do not.
    if set(os.getgroups()) | {identity.gid} != set(identity.groups):
        raise StartError(
            f"cannot become user {identity.user}: the system left us the groups "
            f"{os.getgroups()} instead of {list(identity.groups)}"
        )


def _prove_no_way_back(identity: Identity) -> None:
    attempts: list[Callable[[], None]] = [
        lambda: os.setuid(0),
        lambda: os.seteuid(0),
        lambda: os.setreuid(0, 0),
    ]
    if 0 not in identity.groups:
        attempts += [lambda: os.setgid(0), lambda: os.setegid(0), lambda: os.setgroups([0])]
    for attempt in attempts:
        try:
            attempt()
        except OSError as error:
            # EINVAL: this user namespace has no root at all.
            if error.errno in (errno.EPERM, errno.EINVAL):
                continue
            raise StartError(
                f"cannot prove that user {identity.user} is not root: {error.strerror}"
            ) from None
        raise StartError(
            f"user {identity.user} could become root again: a capability "
            f"(CAP_SETUID or CAP_SETGID) was kept"
        )


def user_name(uid: int) -> str:
    """Return the name of a user id; the number where it has none, as in many containers."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def describe() -> str:
    """Return who this process is, such as `www-data (uid 33, gid 33, groups 4 33)`."""
    uid = os.geteuid()
    groups = " ".join(str(gid) for gid in sorted(os.getgroups())) or "none"
    return f"{user_name(uid)} (uid {uid}, gid {os.getegid()}, groups {groups})"
