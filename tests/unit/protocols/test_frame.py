"""frame: a length and a payload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.errors import IncompleteError, LocalProtocolError, OversizeError
from longline.limits import Limits
from longline.protocols import codec_factory
from longline.protocols.codec import FEED_BATCH
from longline.protocols.frame import Frame
from longline.testing import check_codec


def make(limit=100):
    return Frame(Limits(max_message_bytes=limit))


def test_the_scheme_is_registered():
    assert isinstance(codec_factory("frame")(Limits()), Frame)


def test_frames_are_messages_on_any_split():
    check_codec(
        make,
        [
            (b"\0\0\0\x04", [b""]),
            (b"\0\0\0\x05a", [b"a"]),
            (b"\0\0\0\x06a\n\0\0\0\x05\xff", [b"a\n", b"\xff"]),
            (b"\0\0\0\x64" + b"x" * 96, [b"x" * 96]),
            (b"\0\0\0\x06a", []),
        ],
        errors=[
            b"\0\0\0\0",
            b"\0\0\0\x03",
            b"\0\0\0\x65",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x05a\0\0\0\0",
        ],
    )


def test_a_length_above_the_limit_is_refused_before_its_payload():
    with pytest.raises(OversizeError):
        make().feed(b"\x7f\xff\xff\xff")


def test_a_flood_of_frames_is_served_in_turns():
    codec = make()
    assert len(codec.feed(b"\0\0\0\x04" * (FEED_BATCH + 1))) == FEED_BATCH
    assert codec.feed(b"") == [b""]
    assert codec.feed(b"") == []


@pytest.mark.parametrize("left", [b"\0", b"\0\0\0\x05"])
def test_a_stream_that_ends_inside_a_frame_is_incomplete(left):
    codec = make()
    codec.feed(left)
    with pytest.raises(IncompleteError):
        codec.eof()


@pytest.mark.parametrize(
    "message", ["é", b"\xc3\xa9", bytearray(b"\xc3\xa9"), memoryview(b"\xc3\xa9")]
)
def test_a_message_is_sent_with_its_length(message):
    assert make().encode(message) == b"\0\0\0\x06\xc3\xa9"


@pytest.mark.parametrize("message", [None, 5, ["a"], {}])
def test_other_types_are_refused(message):
    with pytest.raises(TypeError):
        make().encode(message)


def test_lone_surrogates_are_refused():
    with pytest.raises(LocalProtocolError):
        make().encode("\ud800")


@given(st.binary())
def test_what_is_encoded_is_read_back_f_2(message):
    assert make(10_000).feed(make().encode(message)) == [message]
