"""A contract test for codecs, of Longline and of users alike.

    def test_lines():
        check_codec(Lines, [(b"one\\n", [b"one"]), (b"\\n\\n", [b"", b""])])

A stream has no packets: whatever a codec says of the bytes in one piece it must say of them
in any pieces. That is the property here, tried on every place where the input can be cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ProtocolError, RemoteProtocolError
from ..protocols.codec import FEED_BATCH, Codec, UserCodec, UserProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .._types import Buffer

__all__ = ["check_codec"]

_ALL_CUTS_BYTES = 512
"""Longest input that is cut at each place; of a longer one a sample is taken."""

_EDGE = 64
"""Of a long input, this many places at either end are tried: heads and tails matter most."""

_SAMPLE = 128
"""Of a long input, about this many places between the ends are tried."""

_Pieces: TypeAlias = "list[Buffer]"
_Answer: TypeAlias = "Callable[[Codec, Any], object]"
_Canonical: TypeAlias = "Callable[[list[Any]], list[Any]]"


def check_codec(
    make: Callable[[], Codec | UserProtocol],
    cases: Iterable[tuple[bytes, list[Any]]],
    *,
    errors: Iterable[bytes] = (),
    answer: _Answer | None = None,
    canonical: _Canonical | None = None,
    trailing: bool = True,
) -> None:
    """Prove that a codec keeps the contract on any split of its input.

    Each case runs in one piece, byte by byte, and cut in two at every place (at some two
    hundred and fifty places when it is long); then with another case behind it. A codec is
    made anew for each run.

    Args:
        make: Makes one: a class or function without arguments. A `UserProtocol` is wrapped
            as connections wrap it, without a limit.
        cases: Bytes and the events that they are.
        errors: Bytes that break the protocol: `feed` must raise `RemoteProtocolError` for
            them, nothing else, and then for ever.
        answer: Called with the codec and each event, for protocols that do not go on until
            an answer has been encoded.
        canonical: Called on the events of a run, and on those expected, before they are
            compared, for protocols that pass on what is there:
            `lambda pieces: [b"".join(pieces)]`.
        trailing: Whether anything may follow a case; False where a case ends the
            conversation. Cases that leave bytes buffered are never followed.

    Raises:
        AssertionError: The codec broke the contract; the text tells the input and the cut.
    """
    runner = _Runner(make, answer, canonical)
    listed = list(cases)
    for number, (data, expected) in enumerate(listed):
        runner.check_case(f"case {number}", data, expected)
        if not trailing or runner.left_over(data):
            continue
        after, more = listed[(number + 1) % len(listed)]
        runner.check_trailing(f"case {number} and another behind it", data, after, expected + more)
    for number, data in enumerate(errors):
        runner.check_error(f"error {number}", data)


class _Runner:
    """Runs inputs through codecs that it makes."""

    def __init__(
        self,
        make: Callable[[], Codec | UserProtocol],
        answer: _Answer | None,
        canonical: _Canonical | None,
    ) -> None:
        self._make = make
        self._answer = answer
        self._canonical = canonical

    def check_case(self, name: str, data: bytes, expected: list[Any]) -> None:
        for how, pieces in _ways(data):
            self._check_events(f"{name}, {how}", data, pieces, expected)

    def check_trailing(self, name: str, data: bytes, after: bytes, expected: list[Any]) -> None:
        """Run two cases as one stream, cut near the place where they meet."""
        both = data + after
        for cut in range(max(len(data) - 2, 0), min(len(data) + 3, len(both)) + 1):
            pieces: _Pieces = [both[:cut], both[cut:]]
            self._check_events(f"{name}, cut at {cut}", both, pieces, expected)
        self._check_events(f"{name}, in one piece", both, [both], expected)

    def check_error(self, name: str, data: bytes) -> None:
        first: tuple[list[Any], type[Exception]] | None = None
        for how, pieces in _ways(data):
            codec = self._codec()
            events, error = self._run(codec, pieces, f"{name}, {how}", data)
            if error is None:
                raise AssertionError(_report(f"{name}, {how}: no error", data, "error", events))
            outcome = events, type(error)
            first = first or outcome
            if outcome != first:
                raise AssertionError(_report(f"{name}, {how}: differs", data, first, outcome))
            _check_dead(codec, error, f"{name}, {how}", data)

    def left_over(self, data: bytes) -> bool:
        """Whether the codec holds bytes back after `data`, so that nothing can follow it."""
        codec = self._codec()
        self._run(codec, [data], "", data)
        return codec.buffered > 0

    def _codec(self) -> Codec:
        made = self._make()
        return made if isinstance(made, Codec) else UserCodec(made, None)

    def _check_events(self, name: str, data: bytes, pieces: _Pieces, expected: list[Any]) -> None:
        events, error = self._run(self._codec(), pieces, name, data)
        if error is not None:
            raise AssertionError(_report(f"{name}: an error", data, expected, error)) from error
        expected = self._canonical(expected) if self._canonical else expected
        if events != expected:
            raise AssertionError(_report(f"{name}: events differ", data, expected, events))

    def _run(
        self, codec: Codec, pieces: _Pieces, name: str, data: bytes
    ) -> tuple[list[Any], RemoteProtocolError | None]:
        """Feed the pieces; return all events and the error that ended them."""
        events: list[Any] = []
        error: RemoteProtocolError | None = None
        try:
            for piece in pieces:
                self._drain(codec, piece, events, name, data)
        except RemoteProtocolError as raised:
            error = raised
        except AssertionError:
            raise
        except Exception as raised:
            kind = type(raised).__name__
            text = _report(f"{name}: feed raised {kind}", data, "RemoteProtocolError", raised)
            raise AssertionError(text) from raised
        return (self._canonical(events) if self._canonical else events), error

    def _drain(
        self, codec: Codec, piece: Buffer, events: list[Any], name: str, data: bytes
    ) -> None:
        """Feed one piece and go on until the codec wants more bytes."""
        # An event needs bytes, or ends something that had bytes: more of them is no end.
        bound = 16 + 4 * len(data)
        found = codec.feed(piece)
        while found:
            if type(found) is not list or len(found) > FEED_BATCH:
                raise AssertionError(
                    f"{name}: feed returned {len(found)} events as {type(found).__name__}; "
                    f"the contract is a list of at most {FEED_BATCH}"
                )
            events += found
            if len(events) > bound:
                raise AssertionError(_report(f"{name}: events without end", data, bound, events))
            if self._answer is not None:
                for event in found:
                    self._answer(codec, event)
            found = codec.feed(b"")


def _ways(data: bytes) -> Iterator[tuple[str, _Pieces]]:
    """Yield the ways to cut `data`, each with words for it."""
    yield "in one piece", [data]
    # Connections may pass any kind of buffer.
    yield "in one bytearray", [bytearray(data)]
    view = memoryview(data)
    yield "byte by byte", [view[index : index + 1] for index in range(len(data))]
    for cut in _cuts(len(data)):
        yield f"cut at {cut}", [data[:cut], data[cut:]]


def _cuts(size: int) -> Iterable[int]:
    if size <= _ALL_CUTS_BYTES:
        return range(1, size)
    middle = range(_EDGE, size - _EDGE, max(1, (size - 2 * _EDGE) // _SAMPLE))
    return [*range(1, _EDGE), *middle, *range(size - _EDGE, size)]


def _check_dead(codec: Codec, error: ProtocolError, name: str, data: bytes) -> None:
    """Feed a codec that has failed: it must fail again, in the same way."""
    for piece in (b"", b"x", data):
        try:
            events: object = codec.feed(piece)
        except RemoteProtocolError as again:
            if type(again) is type(error) and str(again) == str(error):
                continue
            raise AssertionError(_report(f"{name}: another error", data, error, again)) from again
        raise AssertionError(_report(f"{name}: alive after the error", data, error, events))


def _report(what: str, data: bytes, expected: object, got: object) -> str:
    return "\n".join(
        (
            what,
            f"    input     {_short(data)}",
            f"    expected  {_short(expected)}",
            f"    got       {_short(got)}",
        )
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:300]} ... {text[-90:]}"
