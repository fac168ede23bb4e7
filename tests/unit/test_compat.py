from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.compat import from_workerman
from longline.errors import ConfigurationError, OversizeError, RemoteProtocolError
from longline.protocols.codec import UserCodec
from longline.testing import check_codec

if TYPE_CHECKING:
    from types import SimpleNamespace


class JsonLines:
    """The first worked example of Workerman's manual: JSON and a line feed."""

    @staticmethod
    def input(buffer: bytes, connection: SimpleNamespace) -> int:
        return buffer.find(b"\n") + 1

    @staticmethod
    def decode(message: bytes, connection: SimpleNamespace) -> Any:
        return json.loads(message)

    @staticmethod
    def encode(message: Any, connection: SimpleNamespace) -> bytes:
        return json.dumps(message).encode() + b"\n"


class XmlWithDigits:
    """The second: ten digits that tell the total length, then the text."""

    def input(self, buffer: bytes, connection: SimpleNamespace) -> int:
        if len(buffer) < 10:
            return 0
        return int(buffer[:10])

    def decode(self, message: bytes, connection: SimpleNamespace) -> bytes:
        return message[10:]

    def encode(self, message: bytes, connection: SimpleNamespace) -> bytes:
        return b"%010d" % (10 + len(message)) + message


class Upload:
    """The fourth: total length, length of the name, name, file."""

    @classmethod
    def input(cls, buffer: bytes, connection: SimpleNamespace) -> int:
        return struct.unpack_from(">I", buffer)[0] if len(buffer) >= 5 else 0

    @classmethod
    def decode(cls, message: bytes, connection: SimpleNamespace) -> tuple[str, bytes]:
        end = 5 + message[4]
        return message[5:end].decode(), message[end:]

    @classmethod
    def encode(cls, message: tuple[str, bytes], connection: SimpleNamespace) -> bytes:
        name, data = message[0].encode(), message[1]
        return struct.pack(">IB", 5 + len(name) + len(data), len(name)) + name + data


def codec(cls: type[Any], limit: int | None = None) -> UserCodec:
    return UserCodec(from_workerman(cls)(), limit)


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (JsonLines, [{"a": 1}, [], "x" * 3000]),
        (XmlWithDigits, [b"<a/>", b"", b"x" * 3000]),
        (Upload, [("a.txt", b"123"), ("é", b""), ("big", b"x" * 3000)]),
    ],
)
def test_worked_examples_are_read_on_any_split(cls: type[Any], values: list[Any]) -> None:
    encode = codec(cls).encode
    cases = [(encode(value), [value]) for value in values]
    cases.append((b"".join(map(encode, values)), values))
    check_codec(from_workerman(cls), cases)


def answering(answer: Any) -> type[Any]:
    class Adversary:
        def input(self, buffer: bytes, connection: SimpleNamespace) -> Any:
            if isinstance(answer, BaseException):
                raise answer
            return answer

        def decode(self, message: bytes, connection: SimpleNamespace) -> bytes:
            return message

        def encode(self, message: Any, connection: SimpleNamespace) -> bytes:
            return b""

    return Adversary


@pytest.mark.parametrize(
    "answer",
    [
        -1,
        -(2**70),
        True,
        False,
        None,
        4.0,
        "4",
        b"4",
        (b"x", 1),
        [],
        ValueError("no"),
        MemoryError(),
    ],
    ids=repr,
)
def test_an_input_that_gives_no_length_refuses_the_peer_C_2(answer: Any) -> None:
    one = codec(answering(answer))
    with pytest.raises(RemoteProtocolError):
        one.feed(b"abc")
    with pytest.raises(RemoteProtocolError):
        one.feed(b"abc")


@pytest.mark.parametrize("length", [101, 2**31, 2**63, 2**200])
def test_a_length_beyond_the_limit_refuses_the_peer_C_2(length: int) -> None:
    with pytest.raises(OversizeError):
        codec(answering(length), limit=100).feed(b"abc")


def test_bytes_that_are_never_a_message_are_bounded_C_2() -> None:
    one = codec(answering(0), limit=100)
    assert one.feed(b"x" * 100) == []
    with pytest.raises(OversizeError):
        one.feed(b"x")


def test_a_length_below_the_header_is_the_decoder_s_to_refuse_C_2() -> None:
    with pytest.raises(RemoteProtocolError):
        codec(Upload).feed(struct.pack(">IB", 1, 3))


def test_decode_gets_exactly_the_length_that_input_told() -> None:
    assert codec(answering(3)).feed(b"abcdefgh") == [b"abc", b"def"]


def test_input_is_not_asked_again_while_a_told_length_is_awaited() -> None:
    asked = []

    class Counting(Upload):
        @classmethod
        def input(cls, buffer: bytes, connection: SimpleNamespace) -> int:
            asked.append(buffer)
            return super().input(buffer, connection)

    one = codec(Counting)
    data = one.encode(("a", b"x" * 20))
    assert one.feed(data[:6]) == []
    assert one.feed(data[6:-1]) == []
    assert one.feed(data[-1:]) == [("a", b"x" * 20)]
    assert asked == [data[:6]]


def test_many_small_messages_do_not_each_copy_all_that_waits_H_18() -> None:
    seen = []

    class Counting(JsonLines):
        @staticmethod
        def input(buffer: bytes, connection: SimpleNamespace) -> int:
            seen.append(len(buffer))
            return JsonLines.input(buffer, connection)

    one, data = codec(Counting), b"1\n" * 20_000
    events = one.feed(data)
    while len(events) < 20_000:
        events += one.feed(b"")
    assert sum(seen) < 400 * len(data)


def test_the_namespace_lasts_as_long_as_the_connection_and_is_its_own() -> None:
    class Numbered(JsonLines):
        @staticmethod
        def decode(message: bytes, connection: SimpleNamespace) -> Any:
            connection.context.count = getattr(connection.context, "count", 0) + 1
            return connection.context.count

        @staticmethod
        def encode(message: Any, connection: SimpleNamespace) -> bytes:
            return b"%d" % connection.context.count

    first, second = codec(Numbered), codec(Numbered)
    assert first.feed(b"1\n1\n") == [1, 2]
    assert second.feed(b"1\n") == [1]
    assert first.encode(None) == b"2"


@pytest.mark.parametrize("missing", ["input", "decode", "encode"])
def test_a_class_without_one_of_the_three_is_refused(missing: str) -> None:
    present = {"input", "decode", "encode"} - {missing}
    body = dict.fromkeys(present, staticmethod(len))
    with pytest.raises(ConfigurationError, match=missing):
        from_workerman(type("Partial", (), body))


def test_the_adapted_class_keeps_its_name() -> None:
    adapted = from_workerman(JsonLines)
    assert adapted.__name__ == "JsonLines"
    assert adapted.__module__ == __name__


@given(
    answers=st.lists(
        st.integers() | st.integers(-3, 30) | st.none() | st.booleans() | st.floats(), min_size=1
    ),
    pieces=st.lists(st.binary(max_size=40)),
)
def test_whatever_input_answers_ends_in_messages_or_a_refusal_C_2(
    answers: list[Any], pieces: list[bytes]
) -> None:
    turns = iter(answers * 50)

    class Adversary(JsonLines):
        @staticmethod
        def input(buffer: bytes, connection: SimpleNamespace) -> Any:
            return next(turns)

        @staticmethod
        def decode(message: bytes, connection: SimpleNamespace) -> Any:
            return message

    one, events = codec(Adversary, limit=1000), []
    try:
        for piece in pieces:
            found = one.feed(piece)
            while found:
                events += found
                found = one.feed(b"")
    except RemoteProtocolError:
        pass
    assert b"".join(events) == b"".join(pieces)[: sum(map(len, events))]
    assert one.buffered <= 1000 + 40
