"""The chat's messages, in an SQLite file that outlives the processes that write it.

The process before a reload and the one after it share the file for a moment. So each message
has an id, under which it is stored once, and a number, by which each process sees what the
other one stored.
"""

import getpass
import os
import sqlite3
import tempfile
import time
from pathlib import Path

HISTORY = 50  # messages that a newcomer to a room is shown
KEPT = 10_000  # messages in the file, of all rooms together

TABLE = """\
    CREATE TABLE IF NOT EXISTS messages
    (number INTEGER PRIMARY KEY, id TEXT UNIQUE, room TEXT, name TEXT, text TEXT, time REAL)
"""
ADD = "INSERT OR IGNORE INTO messages (id, room, name, text, time) VALUES (?, ?, ?, ?, ?)"
NEWS = "SELECT * FROM messages WHERE number > ? ORDER BY number"
ROOM = "SELECT * FROM messages WHERE room = ? AND number <= ? ORDER BY number DESC LIMIT ?"


class Store:
    """The messages, as one process sees them."""

    def __init__(self):
        self.db = sqlite3.connect(directory() / "messages.sqlite", isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute(TABLE)
        self.seen = self.db.execute("SELECT ifnull(max(number), 0) FROM messages").fetchone()[0]

    def add(self, id, room, name, text):
        """Store a message, unless one with its id is there already."""
        self.db.execute(ADD, (id, room, name, text, time.time()))
        self.db.execute("DELETE FROM messages WHERE number <= ?", (self.seen - KEPT,))

    def news(self):
        """Return what was stored since the last call, by whichever process."""
        found = [dict(row) for row in self.db.execute(NEWS, (self.seen,))]
        if found:
            self.seen = found[-1]["number"]
        return found

    def history(self, room):
        """Return a room's last messages, up to the last one that `news` has returned."""
        found = [dict(row) for row in self.db.execute(ROOM, (room, self.seen, HISTORY))]
        return found[::-1]


def directory():
    """Return where the file lies: CHAT_DATA, or a directory for temporary files of our own."""
    usual = Path(tempfile.gettempdir(), f"longline-chat-{getpass.getuser()}")
    path = Path(os.environ.get("CHAT_DATA") or usual)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{path} has to be yours alone: choose another one by CHAT_DATA")
    return path
