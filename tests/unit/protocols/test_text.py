"""text: lines of UTF-8."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.errors import IncompleteError, LocalProtocolError, OversizeError, RemoteProtocolError
from longline.limits import Limits
from longline.protocols import codec_factory
from longline.protocols.codec import FEED_BATCH
from longline.protocols.text import Text
from longline.testing import check_codec


def make(limit=100):
    return Text(Limits(max_message_bytes=limit))


def test_the_scheme_is_registered():
    assert isinstance(codec_factory("text")(Limits()), Text)


def test_lines_are_messages_on_any_split():
    check_codec(
        make,
        [
            (b"one\n", ["one"]),
            (b"one\r\ntwo\n", ["one", "two"]),
            (b"\n\r\n", ["", ""]),
            (b"a\r\r\n", ["a"]),
            (b"a\rb\n", ["a\rb"]),
            ("grüße\n".encode(), ["grüße"]),
            (b"a\x00b\xe2\x80\xa8c\n", ["a\x00b\u2028c"]),
            (b"left", []),
        ],
        errors=[b"ok\n\xff\n", b"\xc3\n", b"\xed\xa0\x80\n", b"x" * 101, b"x" * 101 + b"\n"],
    )


def test_the_limit_holds_from_the_first_byte_without_a_line_end():
    codec = make(4)
    assert codec.feed(b"1234") == []
    with pytest.raises(OversizeError):
        codec.feed(b"5")


def test_an_unlimited_line_has_to_be_asked_for():
    codec = Text(Limits(max_message_bytes=None))
    assert codec.feed(b"x" * 1_000_000) == []
    assert codec.feed(b"\n") == ["x" * 1_000_000]


def test_lines_before_a_bad_one_come_first_and_the_error_stays():
    codec = make()
    assert codec.feed(b"one\n\xff\ntwo\n") == ["one"]
    for data in (b"", b"three\n"):
        with pytest.raises(RemoteProtocolError):
            codec.feed(data)


def test_a_flood_of_lines_is_served_in_turns():
    codec = make()
    assert len(codec.feed(b"x\n" * (FEED_BATCH + 1))) == FEED_BATCH
    assert codec.buffered == 2
    assert codec.feed(b"") == ["x"]
    assert codec.feed(b"") == []


def test_a_stream_that_ends_inside_a_line_is_incomplete():
    codec = make()
    codec.feed(b"done\nhal")
    with pytest.raises(IncompleteError):
        codec.eof()
    codec = make()
    codec.feed(b"done\n")
    assert codec.eof() == []


@pytest.mark.parametrize(
    "message", ["é", b"\xc3\xa9", bytearray(b"\xc3\xa9"), memoryview(b"\xc3\xa9")]
)
def test_a_message_is_sent_as_one_line(message):
    assert make().encode(message) == b"\xc3\xa9\n"


@pytest.mark.parametrize("message", ["a\nb", "a\n", b"\n", "\ud800"])
def test_a_message_that_is_not_one_line_is_refused(message):
    with pytest.raises(LocalProtocolError):
        make().encode(message)


@pytest.mark.parametrize("message", [None, 5, ["a"], {}])
def test_other_types_are_refused(message):
    with pytest.raises(TypeError):
        make().encode(message)


@given(st.text().filter(lambda text: "\n" not in text and not text.endswith("\r")))
def test_what_is_encoded_is_read_back_f_2(message):
    assert make(10_000).feed(make().encode(message)) == [message]
