from __future__ import annotations

from pickle import PickleBuffer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.errors import (
    ConfigurationError,
    IncompleteError,
    LocalProtocolError,
    OversizeError,
    RemoteProtocolError,
)
from longline.limits import Limits
from longline.protocols import codec as codec_module
from longline.protocols.codec import (
    FEED_BATCH,
    Codec,
    UserCodec,
    UserProtocol,
    codec_factory,
    register_protocol,
)
from longline.testing import check_codec


class Lines:
    """Ends at a line feed; says None while there is none."""

    def decode(self, buffer: memoryview) -> Any:
        end = bytes(buffer).find(b"\n")
        return None if end < 0 else (bytes(buffer[:end]), end + 1)

    def encode(self, message: bytes) -> bytes:
        return message + b"\n"


class Counted:
    """One byte of length, then that much; says how many bytes to wait for."""

    def decode(self, buffer: memoryview) -> Any:
        total = 1 + buffer[0]
        return total if len(buffer) < total else (bytes(buffer[1:total]), total)

    def encode(self, message: bytes) -> bytes:
        return bytes([len(message)]) + message


class Scripted:
    """Answers what the test tells it to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls = 0

    def decode(self, buffer: memoryview) -> Any:
        self.calls += 1
        return self.answer(buffer) if callable(self.answer) else self.answer

    def encode(self, message: Any) -> Any:
        return self.answer


def drain(one: Codec, data: bytes) -> list[Any]:
    events = found = one.feed(data)
    while found:
        found = one.feed(b"")
        events = events + found
    return events


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The schemes, restored after the test."""
    schemes: dict[str, Any] = dict(codec_module._factories)
    monkeypatch.setattr(codec_module, "_factories", schemes)
    return schemes


# What a good protocol sees


@pytest.mark.parametrize("protocol", [Lines, Counted])
def test_a_good_protocol_reads_the_same_on_any_split(protocol: type[UserProtocol]) -> None:
    encode = protocol().encode
    messages = [b"", b"one", b"", b"x" * 200]
    cases = [(encode(message), [message]) for message in messages]
    cases.append((b"".join(map(encode, messages)), messages))
    check_codec(protocol, cases)


def test_a_flood_of_messages_comes_in_batches() -> None:
    one = UserCodec(Lines(), None)
    data = b"".join(b"%d\n" % number for number in range(3 * FEED_BATCH + 5))
    sizes = [len(one.feed(data))]
    while found := one.feed(b""):
        sizes.append(len(found))
    assert sizes == [FEED_BATCH, FEED_BATCH, FEED_BATCH, 5]
    assert one.buffered == 0


def test_a_batch_is_no_oversized_message() -> None:
    one = UserCodec(Lines(), 10)
    assert len(drain(one, b"123456789\n" * 200)) == 200


def test_decode_is_not_asked_before_the_bytes_it_wants_are_there() -> None:
    protocol = Scripted(lambda buffer: 5 if len(buffer) < 5 else (bytes(buffer), 5))
    one = UserCodec(protocol, None)
    assert [one.feed(b"x") for _ in range(5)] == [[], [], [], [], [b"xxxxx"]]
    assert protocol.calls == 2


def test_decode_is_not_asked_again_without_new_bytes() -> None:
    protocol = Scripted(None)
    one = UserCodec(protocol, None)
    one.feed(b"x")
    one.feed(b"")
    assert protocol.calls == 1


def test_the_caller_s_buffer_may_be_used_again() -> None:
    one, data = UserCodec(Lines(), None), bytearray(b"on")
    one.feed(data)
    data[:] = b"XX"
    assert one.feed(memoryview(b"e\n")) == [b"one"]


def test_the_end_in_a_message_is_incomplete() -> None:
    one = UserCodec(Lines(), None)
    assert one.feed(b"one\n") == [b"one"]
    assert one.eof() == []
    one.feed(b"tw")
    assert one.buffered == 2
    with pytest.raises(IncompleteError):
        one.eof()


# Limits


@pytest.mark.parametrize("protocol", [Lines, Counted])
def test_the_limit_says_the_same_on_any_split_C_2(protocol: type[UserProtocol]) -> None:
    encode = protocol().encode
    check_codec(
        lambda: UserCodec(protocol(), 10),
        [(encode(b"x" * 9), [b"x" * 9])],
        errors=[encode(b"x" * 10), encode(b"x") + encode(b"x" * 10)],
    )


def test_a_length_beyond_the_limit_is_refused_before_the_bytes_come_C_2() -> None:
    with pytest.raises(OversizeError, match="max_message_bytes"):
        UserCodec(Scripted(101), 100).feed(b"x")


def test_bytes_without_a_message_are_bounded_C_2() -> None:
    one = UserCodec(Scripted(None), 100)
    assert one.feed(b"x" * 100) == []
    with pytest.raises(OversizeError):
        one.feed(b"x")


# Adversarial protocols

ANSWERS: list[Any] = [
    0, -1, 3, True, False, 4.0, "4", b"ab", [], {}, (), ("m",), ("m", 1, 2), ["m", 1], object(),
    ("m", 0), ("m", -1), ("m", 4), ("m", 2**70), ("m", True), ("m", 1.0), ("m", None), ("m", "1"),
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_an_answer_that_makes_no_sense_refuses_the_peer_C_2(answer: Any) -> None:
    one = UserCodec(Scripted(answer), None)
    with pytest.raises(RemoteProtocolError) as first:
        one.feed(b"abc")
    with pytest.raises(RemoteProtocolError) as second:
        one.feed(b"")
    assert first.value is second.value


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), MemoryError(), RecursionError(), StopIteration(), BufferError(), OSError(1)],
    ids=repr,
)
def test_what_decode_raises_refuses_the_peer_C_2(error: Exception) -> None:
    def decode(buffer: memoryview) -> Any:
        raise error

    with pytest.raises(RemoteProtocolError, match=type(error).__name__) as caught:
        UserCodec(Scripted(decode), None).feed(b"abc")
    assert caught.value.__cause__ is error


def test_a_refusal_of_the_protocol_keeps_its_answer() -> None:
    def decode(buffer: memoryview) -> Any:
        raise RemoteProtocolError("no", close_code=1003)

    with pytest.raises(RemoteProtocolError, match="no") as caught:
        UserCodec(Scripted(decode), None).feed(b"abc")
    assert caught.value.close_code == 1003


def test_an_interrupt_in_decode_is_no_fault_of_the_peer() -> None:
    def decode(buffer: memoryview) -> Any:
        raise KeyboardInterrupt

    one = UserCodec(Scripted(decode), None)
    with pytest.raises(KeyboardInterrupt):
        one.feed(b"abc")


def test_messages_before_an_error_are_delivered_first_C_2() -> None:
    def decode(buffer: memoryview) -> Any:
        return (buffer[0], 1) if buffer[0] < 128 else -1

    one = UserCodec(Scripted(decode), None)
    assert one.feed(b"\1\2\xff\3") == [1, 2]
    for data in (b"", b"\4"):
        with pytest.raises(RemoteProtocolError):
            one.feed(data)


@given(
    answers=st.lists(
        st.integers(-2, 30)
        | st.integers()
        | st.none()
        | st.booleans()
        | st.tuples(st.text(), st.integers(-1, 5) | st.integers() | st.booleans() | st.none()),
        min_size=1,
    ),
    pieces=st.lists(st.binary(max_size=40)),
)
def test_whatever_decode_answers_ends_in_messages_or_a_refusal_C_2(
    answers: list[Any], pieces: list[bytes]
) -> None:
    turns = iter(answers * 100)
    one, taken = UserCodec(Scripted(lambda buffer: next(turns)), 1000), 0
    try:
        for piece in pieces:
            taken += len(drain(one, piece))
    except RemoteProtocolError:
        with pytest.raises(RemoteProtocolError):
            one.feed(b"x")
    assert taken <= sum(map(len, pieces))
    assert one.buffered <= 1000 + 40


# Protocols that keep the view they were lent


def test_a_message_that_is_a_piece_of_the_view_stays_readable_C_2() -> None:
    one = UserCodec(Scripted(lambda buffer: (buffer[:2], 2) if len(buffer) > 1 else 2), None)
    first = one.feed(b"abcde")
    second = one.feed(b"f")
    assert [bytes(piece) for piece in first + second] == [b"ab", b"cd", b"ef"]


def test_a_message_that_is_the_view_stays_readable_C_2() -> None:
    one = UserCodec(Scripted(lambda buffer: (buffer, len(buffer))), None)
    assert [bytes(piece) for piece in one.feed(b"abc") + one.feed(b"de")] == [b"abc", b"de"]


@pytest.mark.parametrize(
    "keep",
    [
        lambda buffer: buffer,
        lambda buffer: buffer[:1],
        memoryview,
        lambda buffer: memoryview(buffer[:1]),
        lambda buffer: iter(buffer),
    ],
    ids=["view", "slice", "view of view", "view of slice", "iterator"],
)
def test_a_protocol_that_keeps_its_view_harms_nothing_C_2(keep: Any) -> None:
    kept: list[Any] = []

    def decode(buffer: memoryview) -> Any:
        kept.append(keep(buffer))
        return (bytes(buffer[:3]), 3) if len(buffer) >= 3 else None

    one = UserCodec(Scripted(decode), None)
    assert drain(one, b"ab") == []
    assert drain(one, b"cdefg") == [b"abc", b"def"]
    assert drain(one, b"hi") == [b"ghi"]
    assert one.buffered == 0


def test_a_piece_hidden_in_a_message_harms_nothing_C_2() -> None:
    one = UserCodec(
        Scripted(lambda buffer: ({"body": buffer[:2]}, 2) if len(buffer) > 1 else 2), None
    )
    first = one.feed(b"abc")
    second = one.feed(b"def")
    assert [bytes(event["body"]) for event in first + second] == [b"ab", b"cd", b"ef"]


def test_a_protocol_cannot_write_into_the_bytes_it_was_lent_C_2() -> None:
    def decode(buffer: memoryview) -> Any:
        buffer[0] = 0

    with pytest.raises(RemoteProtocolError, match="TypeError"):
        UserCodec(Scripted(decode), None).feed(b"abc")


def test_a_view_that_something_else_borrows_harms_nothing_C_2() -> None:
    kept = []

    def decode(buffer: memoryview) -> Any:
        # An exporter of its own: such a view cannot be released.
        kept.append(PickleBuffer(buffer))
        return bytes(buffer[:2]), 2

    one = UserCodec(Scripted(decode), None)
    assert drain(one, b"abcd") == [b"ab", b"cd"]
    assert drain(one, b"ef") == [b"ef"]


# Encoding


def test_encode_passes_the_message_on() -> None:
    assert UserCodec(Lines(), None).encode(b"one") == b"one\n"


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab")], ids=["bytearray", "view"])
def test_encode_gives_bytes_whatever_buffer_the_protocol_returns(value: Any) -> None:
    data = UserCodec(Scripted(value), None).encode("m")
    assert type(data) is bytes
    assert data == b"ab"


@pytest.mark.parametrize("value", ["ab", None, 3, [1], (b"ab",)], ids=repr)
def test_an_encode_that_gives_no_bytes_is_a_type_error_of_the_protocol(value: Any) -> None:
    with pytest.raises(TypeError, match="encode"):
        UserCodec(Scripted(value), None).encode("m")


@pytest.mark.parametrize("error", [TypeError("no"), LocalProtocolError("no")], ids=repr)
def test_what_encode_raises_is_the_caller_s(error: Exception) -> None:
    class Refusing(Lines):
        def encode(self, message: Any) -> bytes:
            raise error

    with pytest.raises(type(error), match="no"):
        UserCodec(Refusing(), None).encode("m")


def test_the_base_class_is_a_contract_without_bytes() -> None:
    base = Codec()
    assert base.buffered == 0
    assert base.eof() == []
    assert base.fail(RemoteProtocolError("x")) == b""
    for call in (base.feed, base.encode):
        with pytest.raises(NotImplementedError):
            call(b"")


# Registry


class Own(Codec):
    def __init__(self, limits: Limits) -> None:
        self.limits = limits


def test_a_user_s_protocol_is_made_anew_for_each_connection(registry: dict[str, Any]) -> None:
    register_protocol("my-lines2", Lines)
    make = codec_factory("my-lines2")
    first, second = make(Limits(max_message_bytes=5)), make(Limits())
    first.feed(b"tw")
    assert second.feed(b"one\n") == [b"one"]
    with pytest.raises(OversizeError):
        first.feed(b"longer")


def test_a_codec_is_made_with_the_limits_of_its_worker(registry: dict[str, Any]) -> None:
    register_protocol("own", Own)
    limits = Limits()
    made = codec_factory("own")(limits)
    assert isinstance(made, Own)
    assert made.limits is limits


@pytest.mark.parametrize(
    "scheme",
    ["", "Lines", "2lines", "-lines", "li nes", "li_nes", "li+nes", "li:nes", "línes", "-"],
)
def test_a_scheme_that_no_address_could_name_is_refused(
    registry: dict[str, Any], scheme: str
) -> None:
    with pytest.raises(ConfigurationError, match="scheme"):
        register_protocol(scheme, Lines)


@pytest.mark.parametrize("scheme", ["ws", "wss", "https", "tls", "ssl", "unix"])
def test_a_short_form_is_no_free_scheme(registry: dict[str, Any], scheme: str) -> None:
    # An address never reaches it: wss:// is websocket+tls://.
    with pytest.raises(ConfigurationError, match=scheme):
        register_protocol(scheme, Lines)


def test_a_scheme_is_taken_once(registry: dict[str, Any]) -> None:
    register_protocol("lines", Lines)
    with pytest.raises(ConfigurationError, match="taken"):
        register_protocol("lines", Counted)


def test_an_unknown_scheme_lists_those_that_exist(registry: dict[str, Any]) -> None:
    register_protocol("lines", Lines)
    with pytest.raises(ConfigurationError, match=r"no protocol is named 'liens'.*lines"):
        codec_factory("liens")


@pytest.mark.parametrize("missing", ["decode", "encode"])
def test_a_class_without_a_method_is_refused(registry: dict[str, Any], missing: str) -> None:
    other = {"decode": "encode", "encode": "decode"}[missing]
    with pytest.raises(ConfigurationError, match=missing):
        register_protocol("lines", type("Half", (), {other: lambda self, value: None}))


def test_an_instance_in_place_of_a_class_is_refused(registry: dict[str, Any]) -> None:
    # It would be shared by all connections, if it could be called at all.
    with pytest.raises(ConfigurationError, match="class"):
        register_protocol("lines", Lines())  # type: ignore[arg-type]  # the misuse under test


def test_a_function_that_makes_protocols_will_do(registry: dict[str, Any]) -> None:
    register_protocol("lines", lambda: Lines())
    assert codec_factory("lines")(Limits()).feed(b"one\n") == [b"one"]


def test_a_coroutine_function_is_no_decode(registry: dict[str, Any]) -> None:
    class Waiting(Lines):
        async def decode(self, buffer: memoryview) -> Any:
            return None

    with pytest.raises(ConfigurationError, match="async"):
        register_protocol("lines", Waiting)
