"""A connection's hot path: bytes -> codec -> handler -> codec -> one joined write.

`Stream` is what the transport calls. It knows four things and nothing more: who may be
served now (`_hold`, a set of reasons why nobody is), how one message meets its handler, what
becomes of the handler's result, and how answers are collected. Everything that happens
rarely is a method that `longline.connection` fills in; those are named at the end.

Theory of the order. Events are served straight from `feed` while nothing holds them back and
nobody waits; else they are appended to `_inbox`. Whoever clears the last reason in `_hold`
schedules `_pump`, which serves the inbox first, so that no event overtakes another. What
comes meanwhile is bounded: `_store` stops reading, also when a read completed no event.

Theory of the writes. `_out` collects what was encoded. `_batching` says that somebody will
flush later: the read that is being served, or a call scheduled for the end of this turn of
the loop. A flush joins `_out` into one `transport.write`.

This is the plain Python twin: the specification of the compiled one.
"""

from __future__ import annotations

import asyncio
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..errors import RemoteProtocolError
from ._states import OPEN, TURN_MESSAGES

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable

__all__ = ["Stream"]


class Stream(asyncio.Protocol):
    """The read and write path of one live peer.

    Args:
        host: Who owns the connection: limits, callbacks, counters, the loop.
        codec: The protocol's side of the conversation, made for this connection alone.
    """

    __slots__ = (
        "__weakref__",
        "_armed",
        "_batching",
        "_callbacks",
        "_choked",
        "_codec",
        "_eof",
        "_hold",
        "_host",
        "_inbox",
        "_looking",
        "_out",
        "_queued",
        "_room",
        "_state",
        "_transport",
        "bytes_read",
        "bytes_written",
        "last_read",
        "messages_in",
        "messages_out",
    )

    bytes_read: int
    bytes_written: int
    messages_in: int
    messages_out: int
    last_read: float

    def __init__(self, host: Any, codec: Any) -> None:
        self._host: Any = host
        self._codec: Any = codec
        self._callbacks: Any = host.callbacks
        self._transport: Any = None
        self._state = OPEN
        self._hold = 0
        self._inbox: deque[Any] | None = None
        self._eof = False
        self._out: list[bytes] = []
        self._queued = 0
        self._room: float = host.room
        self._batching = False
        self._choked = False
        self._armed = 0
        self._looking = False
        self.bytes_read = 0
        self.bytes_written = 0
        self.messages_in = 0
        self.messages_out = 0
        self.last_read = 0.0

    # Reading

    def data_received(self, data: bytes) -> None:
        """Take what the transport read, serve what is complete, write the answers."""
        self.bytes_read += len(data)
        self.last_read = self._host.now()
        if self._state:
            self._discard(data)
            return
        try:
            events = self._codec.feed(data)
        except RemoteProtocolError as error:
            self._refuse(error)
            return
        if self._hold or self._inbox:
            self._store(events)
            return
        if events:
            self._batching = True
            self._serve(events)
            self._flush()

    def _serve(self, events: list[Any]) -> None:
        """Deliver events and what the codec still holds, up to the share of one turn."""
        share = TURN_MESSAGES
        feed = self._codec.feed
        while events:
            share -= len(events)
            rest = iter(events)
            for event in rest:
                work = self._deliver(event)
                if work is not None and self._host.concurrent:
                    self._start(work)
                    work = None
                if work is not None or self._hold:
                    # Stored first: an eager Task goes on with the inbox before it is back.
                    if not self._state:
                        self._store(list(rest))
                    if work is not None:
                        self._start(work)
                    return
            if share <= 0:
                self._yield_turn()
                return
            try:
                events = feed(b"")
            except RemoteProtocolError as error:
                self._refuse(error)
                return

    def _deliver(self, event: Any) -> Awaitable[Any] | None:
        """Give one event to its handler.

        Returns:
            What has to be awaited before the next event may be delivered, or None.
        """
        handler = self._callbacks.on_message
        if handler is None:
            self.messages_in += 1
            return None
        return self._call(handler, event)

    def _call(self, handler: Any, message: Any) -> Awaitable[Any] | None:
        """Run a message handler and send what it returns."""
        self.messages_in += 1
        host = self._host
        host.stats.messages += 1
        if host.executor is not None:
            return self._call_in_pool(handler, message)
        try:
            result = handler(self, message)
            if result is None:
                return None
            return self._answer(result)
        except BaseException as error:
            # Also SystemExit: one request must not end the service of all the others.
            self._failed(error)
            return None

    def _answer(self, result: Any) -> Awaitable[Any] | None:
        """Send what a handler returned, by the rule of design.md section 5.

        Returns:
            The result, when it has to be awaited first.

        Raises:
            TypeError: It is nothing that this protocol sends.
        """
        if result is None or result is True or result is False:
            return None
        kind = type(result)
        if kind is CoroutineType or hasattr(kind, "__await__"):
            work: Awaitable[Any] = result
            return work
        if isinstance(result, self._codec.accepts):
            self.send(result)
            return None
        raise TypeError(f"a handler returned {kind.__name__}, which this protocol cannot send")

    def _heard(self, now: float) -> None:
        """Note that the peer is there: its silence counts from now on."""
        self.last_read = now

    def _count_message(self) -> None:
        """Count a message that no handler takes."""
        self.messages_in += 1

    # Writing

    def send(self, message: Any) -> bool:
        """Queue one message for the peer; never blocks, never raises for the peer's state.

        What is sent in one turn of the loop leaves in one write. Safe in any thread: outside
        the loop's thread the call waits for the loop's answer.

        Returns:
            True when it was accepted. False when the connection is closing or closed, or
            `max_send_buffer` was reached: then the message is dropped and `on_error` told,
            and a protocol that cannot bear a gap closes the connection.

        Raises:
            TypeError: The protocol does not send this type.
            LocalProtocolError: The protocol cannot express the message.
        """
        if get_ident() != self._host.thread:
            return bool(self._hop(self.send, message))
        if self._state:
            return self._unsent()
        return self._put(self._codec.encode(message))

    def _put(self, data: bytes) -> bool:
        """Queue encoded bytes, within the limit, for the next flush."""
        # Below `_room` without back-pressure the transport holds too little to matter.
        if (self._choked or self._queued >= self._room) and self._overflows():
            return False
        self._out.append(data)
        self._queued += len(data)
        self.messages_out += 1
        if not self._batching:
            self._batching = True
            self._host.loop.call_soon(self._flush)
        return True

    def _flush(self) -> None:
        """Write what was collected, as one piece."""
        self._batching = False
        out = self._out
        if not out or self._transport is None:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._queued = 0
        self.bytes_written += len(data)
        self._transport.write(data)
        if not self._looking:
            self._watch_writes()

    # Cold paths, filled in by longline.connection

    def _store(self, events: list[Any]) -> None:
        """Keep events, perhaps none, for later; stop reading when too much waits."""
        raise NotImplementedError

    def _start(self, work: Awaitable[Any]) -> None:
        """Await a handler's work in a Task, then go on with the inbox."""
        raise NotImplementedError

    def _call_in_pool(self, handler: Any, message: Any) -> Awaitable[Any] | None:
        """Run a plain handler in the host's pool of threads."""
        raise NotImplementedError

    def _yield_turn(self) -> None:
        """Let other connections have their turn, then go on."""
        raise NotImplementedError

    def _failed(self, error: BaseException) -> None:
        """Log what a handler raised and close the connection."""
        raise NotImplementedError

    def _refuse(self, error: RemoteProtocolError) -> None:
        """Answer a peer that broke the protocol, then close."""
        raise NotImplementedError

    def _discard(self, data: bytes) -> None:
        """Take bytes that arrived after the connection began to close."""
        raise NotImplementedError

    def _overflows(self) -> bool:
        """Tell whether the send limit is reached, and act on it."""
        raise NotImplementedError

    def _unsent(self) -> bool:
        """Count a send to a connection that is closing; answers False."""
        raise NotImplementedError

    def _watch_writes(self) -> None:
        """See to it that a peer that takes nothing is noticed."""
        raise NotImplementedError

    def _hop(self, call: Any, *args: Any) -> Any:
        """Run a call in the loop's thread and wait for its result."""
        raise NotImplementedError
