"""The log: records of many processes in, one file and one terminal out.

Only the master writes. Children send lines of JSON through a pipe each (`childlog`); what
arrives there is the word of a process that may be hostile, so types are checked, the pid is
the one that the master knows, and whatever is no record of ours is text (`decode_line`).

Writing never blocks the master, never raises and never logs about itself (Q-6). What cannot
be written is counted, and told in the first line that can be written again.

Two rules guard the text format (Q-5): one record begins one line, and no control character
of a message reaches a terminal. A traceback follows its line, indented.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .logsink import Console, LogFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from .logsink import Sink

__all__ = [
    "MAX_LINE_BYTES",
    "LineBuffer",
    "LogWriter",
    "Record",
    "decode_line",
    "encode_record",
    "escape",
    "level_name",
]

MAX_LINE_BYTES = 64 * 1024
"""Longest line in a log pipe: what a Linux pipe holds, so that a record fits an empty one."""

_MIB = 1024 * 1024
_MAX_NAME = 200
_MAX_TIME = 253_402_300_800.0  # the year 10000: beyond it no calendar function goes
_CUT_LINE = b" [cut]"
_LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"))
_WARNING = 30
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))
} | {9: "\\t", 10: "\\n", 13: "\\r"}


@dataclass(slots=True)
class Record:
    """One thing that happened.

    Args:
        time: Seconds since the epoch.
        level: As in `logging`: 10 debug to 50 critical.
        name: The logger.
        pid: The process that said it.
        message: The text, as long as it likes.
        traceback: Further lines, "" without any.
    """

    time: float
    level: int
    name: str
    pid: int
    message: str
    traceback: str = ""


def level_name(level: int) -> str:
    """Return the name of the standard level at or below `level`."""
    return next((name for least, name in _LEVELS if level >= least), "DEBUG")


def escape(text: str) -> str:
    """Make control characters visible: C0, DEL, C1, U+2028, U+2029, lone surrogates (Q-5)."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def encode_record(record: Record) -> bytes:
    """Return a record as one line for a log pipe, at most `MAX_LINE_BYTES` long.

    A longer one loses the end of its message and the beginning of its traceback, whose last
    lines say what went wrong.
    """
    name = record.name[:_MAX_NAME]
    line = _encode(record, name, record.message, record.traceback)
    if len(line) <= MAX_LINE_BYTES:
        return line
    room = MAX_LINE_BYTES - len(_encode(record, name, "", ""))
    message = _fit(record.message, room // 4 if record.traceback else room, from_end=False)
    room -= len(json.dumps(message)) - 2
    return _encode(record, name, message, _fit(record.traceback, room, from_end=True))


def _encode(record: Record, name: str, message: str, traceback: str) -> bytes:
    # ASCII only, so that a line feed ends the line and nothing else does.
    fields = {
        "time": record.time,
        "level": record.level,
        "name": name,
        "message": message,
        "traceback": traceback,
    }
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _fit(text: str, room: int, *, from_end: bool) -> str:
    """Cut `text` until its JSON form takes at most `room` bytes, and say by how much."""
    whole = len(text)
    mark = ""
    while (size := len(json.dumps(mark + text)) - 2) > room and text:
        keep = max(0, min(len(text) - 1, len(text) * room // size - 40))
        text = text[len(text) - keep :] if from_end else text[:keep]
        mark = f" [cut: {whole - keep} characters] "
    if not mark:
        return text
    return mark + text if from_end else text + mark


def decode_line(line: bytes, pid: int) -> Record:
    """Return what a line from the pipe of process `pid` means; never raises.

    A line that is no record (print from C code, a stack dump) becomes a record of its text,
    level WARNING, name "output".
    """
    line = line.rstrip(b"\r\n")
    fields = _parse_fields(line) if line.startswith(b"{") else None
    if fields is None:
        text = line.decode("utf-8", "backslashreplace")
        return Record(time.time(), _WARNING, "output", pid, text)
    return Record(pid=pid, **fields)


def _parse_fields(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds: dict[str, tuple[type, ...]] = {
        "time": (float, int),
        "level": (int,),
        "name": (str,),
        "message": (str,),
        "traceback": (str,),
    }
    if not isinstance(fields, dict) or fields.keys() != kinds.keys():
        return None
    if any(type(fields[key]) not in kind for key, kind in kinds.items()):
        return None
    moment, level = fields["time"], fields["level"]
    # False for what is no number (NaN) too.
    if not (0 <= moment < _MAX_TIME and 0 <= level <= 1000):
        return None
    fields["name"] = fields["name"][:_MAX_NAME]
    return fields


class LineBuffer:
    """Makes lines of what a pipe gives, in bounded memory and without rescanning."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the lines that they complete, without their ends.

        A line above `MAX_LINE_BYTES` is cut there and marked; empty lines are left out.
        """
        *complete, rest = data.split(b"\n")
        lines = []
        for piece in complete:
            line = self._take(piece)
            self._skipping = False
            if self._rest:
                line = bytes(self._rest)
                self._rest.clear()
            if line:
                lines.append(line)
        line = self._take(rest)
        if line:
            lines.append(line)
        return lines

    def _take(self, piece: bytes) -> bytes:
        """Add to the line under way; return its cut beginning when it is too long."""
        if self._skipping:
            return b""
        self._rest += piece
        if len(self._rest) < MAX_LINE_BYTES:
            return b""
        line = bytes(self._rest[: MAX_LINE_BYTES - len(_CUT_LINE)]) + _CUT_LINE
        self._rest.clear()
        self._skipping = True
        return line

    def flush(self) -> bytes:
        """Return the line that was left without an end, b"" for none."""
        line = bytes(self._rest)
        self._rest.clear()
        return line


class LogWriter:
    """Writes records to a file and a terminal; the only writer of both.

    Args:
        path: The file, None for none. "/dev/null" is a file like any other.
        console: A descriptor to write to as well, None for none.
        json: Whether each record is an object on a line of its own, instead of text.
        max_bytes: The size at which the file is renamed to `.1` and begun anew; None never.
        keep: How many renamed files are kept.
        clock: Monotonic seconds; the file is looked for at its path at most once a second.

    Raises:
        StartError: The file cannot be opened, or must not be written (Q-4).
    """

    def __init__(
        self,
        path: str | None,
        *,
        console: int | None,
        json: bool = False,
        max_bytes: int | None = 10 * _MIB,
        keep: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._format = _as_json if json else _as_text
        self._file = None if path is None else LogFile(path, max_bytes, keep, clock)
        self._sinks: list[Sink] = [] if self._file is None else [self._file]
        if console is not None:
            self._sinks.append(Console(console))

    @property
    def lost(self) -> int:
        """Records that could not be written, over all time and places."""
        return sum(sink.lost for sink in self._sinks)

    def write(self, record: Record) -> None:
        """Write one record wherever it can be written; never waits, never raises."""
        line = self._format(record)
        for sink in self._sinks:
            sink.prepare(len(line))
            notice = sink.notice()
            before = b""
            if notice:
                own = Record(record.time, _WARNING, "longline.log", os.getpid(), notice)
                before = self._format(own)
            sink.write(before + line)

    def reopen(self) -> None:
        """Open the file at its path anew, as after a rotation by somebody else.

        When that fails the file that is open is kept, and the reason stands in it.
        """
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Close the file; the terminal was somebody else's. Later records are lost."""
        for sink in self._sinks:
            sink.close()


def _as_text(record: Record) -> bytes:
    milliseconds = int(record.time * 1000)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds // 1000))
    lines = [
        f"{moment}.{milliseconds % 1000:03d} {level_name(record.level)} pid:{record.pid} "
        f"{escape(record.name)}: {escape(record.message)}"
    ]
    if record.traceback:
        lines += [f"  {escape(line)}" for line in record.traceback.rstrip("\n").split("\n")]
    return ("\n".join(lines) + "\n").encode()


def _as_json(record: Record) -> bytes:
    milliseconds = int(record.time * 1000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    fields = {
        "time": f"{moment}.{milliseconds % 1000:03d}Z",
        "level": level_name(record.level),
        "pid": record.pid,
        "logger": record.name,
        "message": record.message,
        "traceback": record.traceback,
    }
    return json.dumps(fields).encode("ascii") + b"\n"
