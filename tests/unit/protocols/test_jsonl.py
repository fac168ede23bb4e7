"""jsonl: lines of JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.errors import IncompleteError, LocalProtocolError, OversizeError, RemoteProtocolError
from longline.limits import Limits
from longline.protocols import codec_factory
from longline.protocols.codec import FEED_BATCH
from longline.protocols.jsonl import JsonLines
from longline.testing import check_codec


def make(limit=1000):
    return JsonLines(Limits(max_message_bytes=limit))


def test_the_scheme_is_registered():
    assert isinstance(codec_factory("jsonl")(Limits()), JsonLines)


def test_values_are_messages_on_any_split():
    check_codec(
        make,
        [
            (b'{"a":[1,2.5,"x",true,null]}\n', [{"a": [1, 2.5, "x", True, None]}]),
            (b"null\nfalse\n0\n", [None, False, 0]),
            (b' [ ] \r\n"\\n"\n', [[], "\n"]),
            ('"grüße"\n'.encode(), ["grüße"]),
            (b"123456789012345678901234567890\n", [123456789012345678901234567890]),
            (b"[1,", []),
        ],
        errors=[
            b"\n",
            b"nope\n",
            b"1 2\n",
            b"{]\n",
            b"NaN\n",
            b"-Infinity\n",
            b"1e999\n",
            b"01\n",
            b"{'a':1}\n",
            b'{"a":1}\nx\n',
            b'"\xff"\n',
            b'"\\ud800"\n',
            b"\xef\xbb\xbf1\n",
            b"x" * 1001,
        ],
    )


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 50_000 + b"]" * 50_000]
)
def test_json_that_nests_too_deep_is_the_fault_of_the_peer(text):
    with pytest.raises(RemoteProtocolError):
        make(1_000_000).feed(text + b"\n")


def test_an_integer_too_long_for_python_is_the_fault_of_the_peer():
    with pytest.raises(RemoteProtocolError):
        make(100_000).feed(b"9" * 50_000 + b"\n")


def test_the_error_does_not_quote_the_peer():
    with pytest.raises(RemoteProtocolError) as caught:
        make().feed(b'{"secret": tok-en}\n')
    assert "tok" not in str(caught.value)


def test_the_limit_holds_from_the_first_byte_without_a_line_end():
    with pytest.raises(OversizeError):
        make(10).feed(b'"' + b"x" * 10)


def test_a_flood_of_values_is_served_in_turns():
    codec = make()
    assert len(codec.feed(b"1\n" * (FEED_BATCH + 1))) == FEED_BATCH
    assert codec.feed(b"") == [1]
    assert codec.feed(b"") == []


def test_a_stream_that_ends_inside_a_value_is_incomplete():
    codec = make()
    codec.feed(b"1\n[")
    with pytest.raises(IncompleteError):
        codec.eof()


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"a": 1}, b'{"a":1}\n'),
        ([1, "x"], b'[1,"x"]\n'),
        ("a\nb", b'"a\\nb"\n'),
        (5, b"5\n"),
        (2.5, b"2.5\n"),
        (None, b"null\n"),
        (True, b"true\n"),
        (float("nan"), b"null\n"),
        (2**70, b"1180591620717411303424\n"),
    ],
)
def test_a_value_is_sent_as_one_line(message, line):
    assert make().encode(message) == line


@pytest.mark.parametrize("message", [object(), {"a": object()}, {(1, 2): 3}, b"x", bytearray(b"x")])
def test_a_type_that_json_lacks_is_refused(message):
    with pytest.raises(TypeError):
        make().encode(message)


def circle():
    values = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    "message", [circle(), ["\ud800"], 10**5000], ids=["circle", "surrogate", "long"]
)
def test_a_value_that_json_cannot_express_is_refused(message):
    with pytest.raises(LocalProtocolError):
        make().encode(message)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(JSON)
def test_what_is_encoded_is_read_back_f_2(message):
    assert make(100_000).feed(make().encode(message)) == [message]
