from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from longline.errors import IncompleteError, LocalProtocolError, RemoteProtocolError
from longline.protocols.codec import FEED_BATCH, Codec
from longline.testing import check_codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from longline._types import Buffer


class Lines(Codec):
    """A right codec: lines of at most eight bytes, "!" breaks the protocol."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self.error: RemoteProtocolError | None = None

    @property
    def buffered(self) -> int:
        return len(self.rest)

    def feed(self, data: Buffer) -> list[Any]:
        if self.error is not None:
            raise self.error
        self.rest += data
        events: list[Any] = []
        while len(events) < FEED_BATCH:
            if self.rest[:1] == b"!":
                self.error = RemoteProtocolError("bang")
                break
            line, end, rest = self.rest.partition(b"\n")
            if not end:
                break
            events.append(bytes(line))
            self.rest = rest
        if self.error is not None and not events:
            raise self.error
        return events


class Halting(Lines):
    """Goes on only after an answer, as a request/response protocol does."""

    waiting = False

    def feed(self, data: Buffer) -> list[Any]:
        self.rest += data
        if self.waiting:
            return []
        line, end, rest = self.rest.partition(b"\n")
        if not end:
            return []
        self.rest, self.waiting = rest, True
        return [bytes(line)]

    def encode(self, message: Any) -> bytes:
        self.waiting = False
        return b""


class Raw(Codec):
    """Passes on what is there."""

    def feed(self, data: Buffer) -> list[Any]:
        return [bytes(data)] if data else []


class UserLines:
    def decode(self, buffer: memoryview) -> tuple[bytes, int] | None:
        end = bytes(buffer).find(b"\n")
        if buffer[:1] == b"!":
            raise RemoteProtocolError("bang")
        return None if end < 0 else (bytes(buffer[:end]), end + 1)

    def encode(self, message: bytes) -> bytes:
        return message + b"\n"


CASES: list[tuple[bytes, list[Any]]] = [
    (b"one\n", [b"one"]),
    (b"\n\n", [b"", b""]),
    (b"a\nb\nc\n", [b"a", b"b", b"c"]),
    (b"\n" * 200, [b""] * 200),
    (b"x" * 2000 + b"\n", [b"x" * 2000]),
    (b"unfinished", []),
]


@pytest.mark.parametrize("make", [Lines, UserLines, lambda: Lines()])
def test_a_right_codec_passes(make: Callable[[], Any]) -> None:
    check_codec(make, CASES, errors=[b"!", b"one\n!", b"\n" * 100 + b"!"])


def test_a_codec_that_waits_for_answers_is_given_them() -> None:
    cases: list[tuple[bytes, list[Any]]] = [(b"one\n", [b"one"]), (b"a\nb\n", [b"a", b"b"])]
    check_codec(Halting, cases, answer=lambda codec, event: codec.encode(event))
    with pytest.raises(AssertionError, match="events differ"):
        check_codec(Halting, cases)


def test_a_codec_that_passes_on_pieces_is_compared_by_their_sum() -> None:
    check_codec(Raw, [(b"some bytes", [b"some bytes"])], canonical=lambda all: [b"".join(all)])
    with pytest.raises(AssertionError, match="byte by byte"):
        check_codec(Raw, [(b"some bytes", [b"some bytes"])])


def test_a_case_that_ends_the_conversation_is_not_followed() -> None:
    class Once(Lines):
        done = False

        def feed(self, data: Buffer) -> list[Any]:
            events = [] if self.done else super().feed(data)
            self.done = self.done or bool(events)
            self.rest = bytearray() if self.done else self.rest
            return events

    check_codec(Once, [(b"one\n", [b"one"])], trailing=False)
    with pytest.raises(AssertionError, match="another behind it"):
        check_codec(Once, [(b"one\n", [b"one"])])


class WrongEvents(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        return [event + b"?" for event in super().feed(data)]


class OnlyWhole(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        return bytes(data).split(b"\n")[:-1]


class LosesTheRest(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        found = super().feed(data)
        if found:
            self.rest.clear()
        return found


class SplitsAtThree(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        if len(data) == 3 and not self.rest:
            return [b"three"]
        return super().feed(data)


class TooMany(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        return [b""] * (FEED_BATCH + 1)


class Tuples(Lines):
    def feed(self, data: Buffer) -> Any:
        return tuple(super().feed(data))


class Endless(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        return [b"again"]


class Raises(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        raise RemoteProtocolError("no")


class BytesOnly(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        if type(data) is not bytes:
            raise TypeError("bytes wanted")
        return super().feed(data)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (WrongEvents, "case 0, in one piece: events differ"),
        (OnlyWhole, "case 0, byte by byte: events differ"),
        (LosesTheRest, "another behind it"),
        (SplitsAtThree, "case 0, cut at 3: events differ"),
        (TooMany, "at most 64"),
        (Tuples, "as tuple"),
        (Endless, "events without end"),
        (Raises, "case 0, in one piece: an error"),
        (BytesOnly, "in one bytearray: feed raised TypeError"),
    ],
)
def test_a_codec_that_breaks_the_contract_is_found_out(make: type[Codec], what: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_codec(make, [(b"first\n", [b"first"])])
    assert what in str(caught.value)


class Silent(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        return []


class Wrong(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        raise LocalProtocolError("no")


class Reviving(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        try:
            return super().feed(data)
        except RemoteProtocolError:
            self.rest, self.error = bytearray(), None
            raise


class Changing(Lines):
    def feed(self, data: Buffer) -> list[Any]:
        if self.error is not None:
            raise IncompleteError("another")
        return super().feed(data)


class Hasty(Lines):
    """Loses what came before the error when both come at once."""

    def feed(self, data: Buffer) -> list[Any]:
        events = super().feed(data)
        if self.error is not None:
            raise self.error
        return events


@pytest.mark.parametrize(
    ("make", "data", "what"),
    [
        (Silent, b"!", "error 0, in one piece: no error"),
        (Wrong, b"!", "feed raised LocalProtocolError"),
        (Reviving, b"!", "alive after the error"),
        (Changing, b"!", "another error"),
        (Changing, b"one\n!", "error 0, byte by byte: differs"),
        (Hasty, b"one\n!", "error 0, byte by byte: differs"),
    ],
)
def test_a_codec_that_mistreats_errors_is_found_out(
    make: type[Codec], data: bytes, what: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        check_codec(make, [], errors=[data])
    assert what in str(caught.value)


def test_the_report_tells_the_input_the_expected_and_the_got() -> None:
    with pytest.raises(AssertionError) as caught:
        check_codec(WrongEvents, [(b"one\n", [b"one"])])
    text = str(caught.value)
    assert r"b'one\n'" in text
    assert "[b'one']" in text
    assert "[b'one?']" in text


def test_a_long_input_is_shortened_in_the_report() -> None:
    with pytest.raises(AssertionError) as caught:
        check_codec(WrongEvents, [(b"x" * 100_000 + b"\n", [b"x"])])
    assert len(str(caught.value)) < 2000
