"""Named groups of connections, and messages to many of them at once.

A message is encoded once for each protocol among the receivers, and all of them share the
bytes. Rooms exist as long as somebody is in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..connection import Connection, HttpConnection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Room", "Rooms", "send_to_all"]


class Rooms:
    """Which connections of one process are in which room."""

    def __init__(self) -> None:
        self._members: dict[str, dict[int, Connection]] = {}
        self._rooms: dict[int, set[str]] = {}

    def join(self, conn: Connection, room: str) -> None:
        """Put a connection into a room; harmless when it is there or closed."""
        if not conn.closed:
            self._members.setdefault(room, {})[conn.id] = conn
            self._rooms.setdefault(conn.id, set()).add(room)

    def leave(self, conn: Connection, room: str) -> None:
        """Take a connection out of a room; harmless when it is not in it."""
        rooms = self._rooms.get(conn.id)
        if rooms is None or room not in rooms:
            return
        rooms.discard(room)
        if not rooms:
            del self._rooms[conn.id]
        members = self._members[room]
        del members[conn.id]
        if not members:
            del self._members[room]

    def leave_all(self, conn: Connection) -> None:
        """Take a connection out of every room."""
        for room in list(self._rooms.get(conn.id, ())):
            self.leave(conn, room)

    def of(self, conn: Connection) -> frozenset[str]:
        """Return the rooms that a connection is in."""
        return frozenset(self._rooms.get(conn.id, ()))

    def members(self, room: str) -> list[Connection]:
        """Return the connections in a room."""
        return list(self._members.get(room, {}).values())


class Room:
    """The address of a message: everybody in one room."""

    def __init__(self, rooms: Rooms, name: str) -> None:
        self._rooms = rooms
        self.name = name

    @property
    def members(self) -> list[Connection]:
        """The connections of this process that are in the room."""
        return self._rooms.members(self.name)

    def send(self, message: Any, *, exclude: Connection | Collection[Connection] = ()) -> int:
        """Send a message to everybody in the room.

        Args:
            message: What `Connection.send` takes.
            exclude: A connection, or several, that shall not get it.

        Returns:
            How many connections accepted it.

        Raises:
            TypeError, LocalProtocolError: As `Connection.send`.
        """
        return send_to_all(self.members, message, exclude)


def send_to_all(
    connections: Iterable[Connection],
    message: Any,
    exclude: Connection | Collection[Connection] = (),
) -> int:
    """Send one message to many connections, encoded once for each protocol among them.

    Connections that are between requests of HTTP are passed over: they await no message.
    """
    excluded = {exclude} if isinstance(exclude, Connection) else set(exclude)
    encoded: dict[type, bytes] = {}
    accepted = 0
    for conn in list(connections):
        if conn in excluded or isinstance(conn, HttpConnection):
            continue
        codec = conn.codec
        data = encoded.get(type(codec))
        if data is None or not codec.shares_encoding:
            data = encoded[type(codec)] = codec.encode(message)
        accepted += conn.write(data)
    return accepted
