"""The sending end of the log: how a child's records reach the master.

A child never waits for the log. When its pipe is full, because the master is stopped or
busy, records are dropped and counted, and the next one that fits says how many.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import time

from .log import Record, encode_record

__all__ = ["LogStream", "PipeHandler", "configure_child_logging", "finish_output"]

_MAX_PARTIAL_LINE = 16 * 1024

_formatter = logging.Formatter()


class PipeHandler(logging.Handler):
    """Sends records through a pipe, never waiting for its reader.

    Args:
        fd: The pipe's writing end; it is made non-blocking and stays the caller's to close.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.lost: int = 0
        self._untold = 0
        self._rest = b""
        self._fd = fd
        os.set_blocking(fd, False)

    def retarget(self, fd: int) -> None:
        """Send through another pipe from now on, as a forked worker does.

        What the process before had begun to write is its own to finish.
        """
        os.set_blocking(fd, False)
        with self._locked():
            self._fd = fd
            self._rest = b""
            self._untold = self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record of `logging`."""
        self.send(
            Record(
                record.created,
                record.levelno,
                record.name,
                os.getpid(),
                _message_of(record),
                _traceback_of(record),
            )
        )

    def send(self, record: Record) -> None:
        """Send one record, or count it as lost."""
        line = encode_record(record)
        with self._locked():
            if self._finish_line():
                if self._untold:
                    line = self._notice(record) + line
                if self._write(line):
                    self._untold = 0
                    return
            self.lost += 1
            self._untold += 1

    def flush(self) -> None:
        """Write what is left of a line that the pipe took in part, if it takes that now."""
        with self._locked():
            self._finish_line()

    def _notice(self, record: Record) -> bytes:
        text = f"{self._untold} log records of this process were lost: the pipe was full"
        return encode_record(Record(time.time(), logging.WARNING, "longline.log", record.pid, text))

    def _finish_line(self) -> bool:
        """Write the rest of the line before; False while some of it is left.

        The pipe may take a part only of what is longer than PIPE_BUF (pipe(7)). A new line
        in its middle would spoil both.
        """
        if self._rest:
            self._write(self._rest)
        return not self._rest

    def _write(self, data: bytes) -> bool:
        """Write `data` and keep what was not taken; False when nothing was."""
        try:
            written = os.write(self._fd, data)
        except OSError:
            # Full, or the master is gone: the supervision of this process will notice.
            return False
        self._rest = data[written:]
        return True

    def _locked(self) -> threading.RLock:
        # `logging` makes the lock anew in a forked child.
        return self.lock  # type: ignore[return-value]  # None only after removal by createLock


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        # A wrong argument in a log call is worth a line, not an exception in the caller.
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{text} (cannot be formatted: {type(error).__name__}: {error})"


def _traceback_of(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(_formatter.formatException(record.exc_info))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


class LogStream(io.TextIOBase):
    """A text stream whose lines become records: `sys.stdout` and `sys.stderr` of a daemon.

    It sends to the pipe itself instead of through a logger: an application's own handler may
    write to `sys.stderr`, and would be called by what it wrote.

    Args:
        handler: Where the records go.
        name: Their logger name, "stdout" or "stderr".
        level: Their level.
        fd: The descriptor that `fileno` gives to those who need a real one.
    """

    encoding = "utf-8"
    errors: str | None = "backslashreplace"

    def __init__(self, handler: PipeHandler, name: str, level: int, fd: int | None = None) -> None:
        super().__init__()
        self._handler = handler
        self._name = name
        self._level = level
        self._fd = fd
        self._partial = ""
        # Reentrant: a finalizer that prints may run while a line is being taken.
        self._lock = threading.RLock()
        self.buffer: _Bytes = _Bytes(self)

    def writable(self) -> bool:
        """Return True: this stream only takes."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that the stream stands for.

        Raises:
            UnsupportedOperation: It stands for none.
        """
        if self._fd is None:
            raise io.UnsupportedOperation("fileno")
        return self._fd

    def write(self, text: str, /) -> int:
        """Take text; every line that it completes becomes a record."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes a str, not {type(text).__name__}")
        with self._lock:
            *lines, rest = (self._partial + text).split("\n")
            if len(rest) > _MAX_PARTIAL_LINE:
                lines.append(rest)
                rest = ""
            self._partial = rest
        for line in lines:
            self._send(line)
        return len(text)

    def finish(self) -> None:
        """Send the line under way although it has no end."""
        with self._lock:
            line, self._partial = self._partial, ""
        self._send(line)

    def discard(self) -> None:
        """Forget the line under way: a forked child's copy of its parent's words."""
        self._lock = threading.RLock()
        self._partial = ""

    def _send(self, line: str) -> None:
        line = line.rstrip("\r")
        if line:
            self._handler.send(Record(time.time(), self._level, self._name, os.getpid(), line))

    def close(self) -> None:
        """Send the line under way, then close."""
        if not self.closed:
            self.finish()
        super().close()


class _Bytes(io.RawIOBase):
    """What `sys.stdout.buffer` is asked for: bytes become text of the stream."""

    def __init__(self, stream: LogStream) -> None:
        super().__init__()
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        self._stream.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)


_handler: PipeHandler | None = None
"""The one of this process; a forked worker's logging and streams refer to it as they are."""


def configure_child_logging(fd: int, level: int | str, *, redirect: bool = False) -> PipeHandler:
    """Send the records of this process to the master.

    The first call in a family of processes adds a handler to the root logger and sets its
    level. Later ones, in forked workers, only change over to their own pipe: which handlers
    and levels the application has configured meanwhile stays its business.

    Args:
        fd: The pipe's writing end.
        level: The root logger's level.
        redirect: Whether `sys.stdout` and `sys.stderr` become records too.
    """
    global _handler
    if _handler is None:
        _handler = PipeHandler(fd)
        root = logging.getLogger()
        root.addHandler(_handler)
        root.setLevel(level)
    else:
        _handler.retarget(fd)
    if redirect:
        sys.stdout = _redirected(sys.stdout, _handler, "stdout", logging.INFO, 1)
        sys.stderr = _redirected(sys.stderr, _handler, "stderr", logging.WARNING, 2)
    return _handler


def _redirected(stream: object, handler: PipeHandler, name: str, level: int, fd: int) -> LogStream:
    if isinstance(stream, LogStream):
        stream.discard()
        return stream
    return LogStream(handler, name, level, fd)


def finish_output() -> None:
    """Send what was printed without a line end: the process is about to exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LogStream):
            stream.finish()
        elif stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
