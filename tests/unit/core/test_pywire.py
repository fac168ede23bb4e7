"""The Python twin of the wire readers: framing rules, any split, bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longline._core import _pywire as wire
from longline.errors import OversizeError, RemoteProtocolError

MOST = 64
KEY = b"\x37\xfa\x21\x3d"


def drain(reader, pieces, most=MOST):
    """Feed pieces as a connection does: after each one until nothing more comes."""
    found = []
    for piece in pieces:
        got = reader.feed(piece, most)
        while got:
            assert len(got) <= most
            found += got
            got = reader.feed(b"", most)
    return found


def bytewise(data):
    return [data[i : i + 1] for i in range(len(data))]


def splits(data):
    """The whole, every single byte, and every cut in two."""
    return [[data], bytewise(data), *([data[:i], data[i:]] for i in range(1, len(data)))]


def cut_at(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


# Lines


@pytest.mark.parametrize(
    ("data", "lines", "left"),
    [
        (b"", [], 0),
        (b"a", [], 1),
        (b"a\n", [b"a"], 0),
        (b"\n", [b""], 0),
        (b"\n\n\n", [b"", b"", b""], 0),
        (b"a\r\nb\n", [b"a\r", b"b"], 0),
        (b"one\ntwo\nthr", [b"one", b"two"], 3),
        (b"\x00\xff\n", [b"\x00\xff"], 0),
    ],
)
def test_lines_are_cut_at_line_feeds_on_any_split(data, lines, left):
    for pieces in splits(data):
        reader = wire.LineReader(None)
        assert drain(reader, pieces) == lines
        assert reader.buffered == left


def test_a_line_of_the_limit_passes_and_a_longer_one_does_not():
    for pieces in splits(b"1234\n1234\n"):
        assert drain(wire.LineReader(4), pieces) == [b"1234", b"1234"]
    for pieces in splits(b"12345\n"):
        with pytest.raises(OversizeError):
            drain(wire.LineReader(4), pieces)


def test_a_line_without_end_is_refused_from_the_first_byte_too_many():
    reader = wire.LineReader(4)
    assert reader.feed(b"1234", MOST) == []
    with pytest.raises(OversizeError):
        reader.feed(b"5", MOST)


def test_lines_before_an_error_come_first_and_the_error_stays():
    reader = wire.LineReader(4)
    assert reader.feed(b"ok\n12345", MOST) == [b"ok"]
    for data in (b"", b"\n", b"ok\n"):
        with pytest.raises(OversizeError):
            reader.feed(data, MOST)


def test_no_more_lines_than_asked_for_are_returned_at_once():
    reader = wire.LineReader(None)
    assert reader.feed(b"1\n2\n3\n4", 2) == [b"1", b"2"]
    assert reader.buffered == 3
    assert reader.feed(b"\n", 2) == [b"3", b"4"]
    assert reader.feed(b"", 2) == []


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 2000)), st.integers(1, 9))
def test_lines_do_not_depend_on_the_split(chunks, cuts, most):
    lines = [chunk.replace(b"\n", b"") for chunk in chunks]
    data = b"".join(line + b"\n" for line in lines)
    assert drain(wire.LineReader(40), cut_at(data, cuts), most) == lines


# Lengths


@pytest.mark.parametrize(
    ("data", "payloads", "left"),
    [
        (b"\0\0\0\x04", [b""], 0),
        (b"\0\0\0\x05a\0\0\0\x06bc", [b"a", b"bc"], 0),
        (b"\0\0\0\x05a\0\0\0\x06b", [b"a"], 5),
        (b"\0\0\0", [], 3),
    ],
)
def test_frames_are_cut_by_their_length_on_any_split(data, payloads, left):
    for pieces in splits(data):
        reader = wire.LengthReader(None)
        assert drain(reader, pieces) == payloads
        assert reader.buffered == left


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_length_below_the_header_is_refused_at_once_c_2(length):
    for pieces in splits(length.to_bytes(4, "big")):
        with pytest.raises(RemoteProtocolError):
            drain(wire.LengthReader(None), pieces)


def test_a_length_above_the_limit_is_refused_from_the_header():
    assert drain(wire.LengthReader(8), [b"\0\0\0\x08abcd"]) == [b"abcd"]
    for pieces in splits(b"\0\0\0\x09"):
        with pytest.raises(OversizeError):
            drain(wire.LengthReader(8), pieces)


def test_payloads_before_an_error_come_first_and_the_error_stays():
    reader = wire.LengthReader(8)
    assert reader.feed(b"\0\0\0\x05a\0\0\0\0", MOST) == [b"a"]
    for data in (b"", b"\0\0\0\x05a"):
        with pytest.raises(RemoteProtocolError):
            reader.feed(data, MOST)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 2000)), st.integers(1, 9))
def test_frames_do_not_depend_on_the_split(payloads, cuts, most):
    data = b"".join((len(p) + 4).to_bytes(4, "big") + p for p in payloads)
    assert drain(wire.LengthReader(None), cut_at(data, cuts), most) == payloads


# Masks and encoding


@given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
def test_a_mask_is_the_repeated_key(data, key):
    masked = wire.apply_mask(data, key)
    assert masked == bytes(byte ^ key[i % 4] for i, byte in enumerate(data))
    assert wire.apply_mask(masked, key) == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_masks_take_any_buffer(kind):
    assert wire.apply_mask(kind(b"\1\2\3\4\5"), kind(b"\1\1\1\1")) == b"\0\3\2\5\4"


@pytest.mark.parametrize("key", [b"", b"123", b"12345"])
def test_a_key_of_another_length_is_refused(key):
    with pytest.raises(ValueError, match="4 bytes"):
        wire.apply_mask(b"data", key)


@pytest.mark.parametrize(
    ("frame", "arguments", "options"),
    [
        # The examples of RFC 6455 section 5.7.
        ("810548656c6c6f", (1, b"Hello"), {}),
        ("818537fa213d7f9f4d5158", (1, b"Hello"), {"mask": KEY}),
        ("010348656c", (1, b"Hel"), {"fin": False}),
        ("80026c6f", (0, b"lo"), {}),
        ("890548656c6c6f", (9, b"Hello"), {}),
        ("8a8537fa213d7f9f4d5158", (10, b"Hello"), {"mask": KEY}),
        ("827e0100" + "00" * 256, (2, bytes(256)), {}),
        ("827f0000000000010000" + "00" * 65536, (2, bytes(65536)), {}),
        # Borders of the three lengths, and the bit of an extension.
        ("827d" + "00" * 125, (2, bytes(125)), {}),
        ("827e007e" + "00" * 126, (2, bytes(126)), {}),
        ("827effff" + "00" * 65535, (2, bytearray(65535)), {}),
        ("c100", (1, b""), {"rsv1": True}),
        ("8180" + KEY.hex(), (1, memoryview(b"")), {"mask": KEY}),
    ],
)
def test_frames_are_encoded_as_rfc_6455_shows(frame, arguments, options):
    assert wire.encode_frame(*arguments, **options).hex() == frame


# WebSocket frames


def joined(pieces):
    """Whole frames `(fin, rsv1, opcode, payload)`, however many pieces they came in."""
    frames, payload = [], b""
    for fin, rsv1, opcode, part, done in pieces:
        payload += part
        if done:
            frames.append((fin, rsv1, opcode, payload))
            payload = b""
    return frames


@pytest.mark.parametrize("size", [0, 1, 7, 125, 126, 127, 128, 300])
@pytest.mark.parametrize("mask", [None, KEY])
def test_a_frame_is_read_back_on_any_split(size, mask):
    payload = bytes(i & 0xFF for i in range(size))
    data = wire.encode_frame(2, payload, mask=mask) + wire.encode_frame(1, b"x", mask=mask)
    for pieces in splits(data):
        reader = wire.FrameReader(None, mask is not None)
        found = drain(reader, pieces)
        assert joined(found) == [(True, False, 2, payload), (True, False, 1, b"x")]
        assert reader.buffered == 0
        assert not reader.message_open


@pytest.mark.parametrize("size", [65535, 65536, 65537])
def test_long_frames_are_read_back(size):
    payload = bytes(size)
    data = wire.encode_frame(2, payload, mask=KEY)
    for pieces in ([data], [data[:9], data[9:70], data[70:]], [data[:-1], data[-1:]]):
        assert joined(drain(wire.FrameReader(None, True), pieces)) == [(True, False, 2, payload)]


def test_a_data_frame_is_handed_over_as_it_arrives_w_6():
    data = wire.encode_frame(2, b"abcdefgh", mask=KEY)
    reader = wire.FrameReader(None, True)
    assert reader.feed(data[:6], MOST) == []
    assert reader.message_open
    assert reader.feed(data[6:9], MOST) == [(True, False, 2, b"abc", False)]
    assert reader.buffered == 0
    assert reader.feed(data[9:], MOST) == [(True, False, 2, b"defgh", True)]
    assert not reader.message_open


def test_a_control_frame_comes_whole():
    data = wire.encode_frame(9, b"abcd")
    reader = wire.FrameReader(None, False)
    assert reader.feed(data[:-1], MOST) == []
    assert not reader.message_open
    assert reader.feed(data[-1:], MOST) == [(True, False, 9, b"abcd", True)]


def test_a_message_is_open_between_its_fragments():
    reader = wire.FrameReader(None, False)
    reader.feed(wire.encode_frame(1, b"a", fin=False), MOST)
    assert reader.message_open
    reader.feed(wire.encode_frame(9, b""), MOST)
    assert reader.message_open
    reader.feed(wire.encode_frame(0, b"b"), MOST)
    assert not reader.message_open


def test_no_more_pieces_than_asked_for_are_returned_at_once():
    reader = wire.FrameReader(None, False)
    data = wire.encode_frame(1, b"x") * 5
    assert len(reader.feed(data, 2)) == 2
    assert reader.buffered == 9
    assert len(reader.feed(b"", 2)) == 2
    assert len(reader.feed(b"", 2)) == 1
    assert reader.feed(b"", 2) == []


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 9, 10]), st.binary(max_size=125))),
    st.lists(st.integers(0, 5000)),
    st.integers(1, 9),
    st.booleans(),
)
def test_frames_of_websocket_do_not_depend_on_the_split(frames, cuts, most, masked):
    mask = KEY if masked else None
    data = b"".join(wire.encode_frame(opcode, payload, mask=mask) for opcode, payload in frames)
    found = drain(wire.FrameReader(None, masked), cut_at(data, cuts), most)
    assert joined(found) == [(True, False, opcode, payload) for opcode, payload in frames]


RULES = [
    *(
        pytest.param(bytes((0x80 | rsv << 4 | opcode, 0)), id=f"W-3 rsv {rsv} opcode {opcode}")
        for rsv in range(1, 8)
        for opcode in (1, 2, 8, 9, 10)
    ),
    *(
        pytest.param(bytes((0x80 | opcode, 0)), id=f"W-3 opcode {opcode}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ),
    *(
        pytest.param(bytes((opcode, 0)), id=f"W-3 fragmented control {opcode}")
        for opcode in (8, 9, 10)
    ),
    *(
        pytest.param(bytes((0x80 | opcode, length)), id=f"W-3 long control {opcode} {length}")
        for opcode in (8, 9, 10)
        for length in (126, 127)
    ),
    pytest.param(b"\x80\x00", id="W-3 continuation of nothing"),
    pytest.param(b"\x00\x00", id="W-3 continuation of nothing, not final"),
    pytest.param(b"\x82\x7e\x00\x7d", id="W-3 125 in two bytes"),
    pytest.param(b"\x82\x7e\x00\x00", id="W-3 0 in two bytes"),
    pytest.param(b"\x82\x7f" + (0xFFFF).to_bytes(8, "big"), id="W-3 65535 in eight bytes"),
    pytest.param(b"\x82\x7f" + (2**63).to_bytes(8, "big"), id="W-3 2**63"),
    pytest.param(b"\x82\x7f" + b"\xff" * 8, id="W-3 2**64 - 1"),
    pytest.param(b"\x82\x80", id="W-3 masked by a server"),
]


@pytest.mark.parametrize("header", RULES)
def test_a_header_that_breaks_rfc_6455_is_refused(header):
    for pieces in splits(header):
        reader = wire.FrameReader(None, False)
        with pytest.raises(RemoteProtocolError) as caught:
            drain(reader, pieces)
        assert caught.value.close_code == 1002
        with pytest.raises(RemoteProtocolError):
            reader.feed(wire.encode_frame(1, b"x"), MOST)


def test_an_unmasked_frame_of_a_client_is_refused_w_3():
    with pytest.raises(RemoteProtocolError) as caught:
        wire.FrameReader(None, True).feed(b"\x81\x00", MOST)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("second", [1, 2])
def test_a_message_inside_an_unfinished_one_is_refused_w_3(second):
    reader = wire.FrameReader(None, False)
    data = wire.encode_frame(1, b"a", fin=False) + wire.encode_frame(second, b"b")
    assert joined(reader.feed(data, MOST)) == [(False, False, 1, b"a")]
    with pytest.raises(RemoteProtocolError):
        reader.feed(b"", MOST)


def test_a_continuation_after_the_last_fragment_is_refused_w_3():
    reader = wire.FrameReader(None, False)
    reader.feed(wire.encode_frame(1, b"a", fin=False) + wire.encode_frame(0, b"b"), MOST)
    with pytest.raises(RemoteProtocolError):
        reader.feed(wire.encode_frame(0, b"c"), MOST)


def test_rsv1_passes_only_where_it_was_allowed_w_4():
    reader = wire.FrameReader(None, False)
    reader.rsv1_allowed = True
    first = wire.encode_frame(1, b"a", fin=False, rsv1=True)
    assert reader.feed(first, MOST) == [(False, True, 1, b"a", True)]
    with pytest.raises(RemoteProtocolError):
        reader.feed(wire.encode_frame(0, b"b", rsv1=True), MOST)
    reader = wire.FrameReader(None, False)
    reader.rsv1_allowed = True
    with pytest.raises(RemoteProtocolError):
        reader.feed(wire.encode_frame(9, b"", rsv1=True), MOST)


@pytest.mark.parametrize("length", [11, 126, 2**40, 2**63 - 1])
def test_a_length_above_the_limit_is_refused_from_the_header_alone_w_5(length):
    if length < 126:
        header = bytes((0x82, 0x80 | length))
    elif length < 65536:
        header = b"\x82\xfe" + length.to_bytes(2, "big")
    else:
        header = b"\x82\xff" + length.to_bytes(8, "big")
    for pieces in splits(header):
        with pytest.raises(OversizeError) as caught:
            drain(wire.FrameReader(10, True), pieces)
        assert caught.value.close_code == 1009


def test_the_limit_counts_all_fragments_and_begins_anew_with_each_message():
    reader = wire.FrameReader(10, False)
    fragments = wire.encode_frame(1, b"12345", fin=False) + wire.encode_frame(9, b"1" * 100)
    data = (fragments + wire.encode_frame(0, b"67890")) * 2 + wire.encode_frame(2, b"1" * 10)
    assert len(joined(reader.feed(data, MOST))) == 7
    assert joined(reader.feed(fragments, MOST))
    with pytest.raises(OversizeError):
        reader.feed(wire.encode_frame(0, b"678901")[:2], MOST)


# What all of them share

MAKERS = [
    pytest.param(lambda: wire.LineReader(100), id="lines"),
    pytest.param(lambda: wire.LengthReader(100), id="lengths"),
    pytest.param(lambda: wire.FrameReader(100, True), id="frames"),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_only_buffers_can_be_fed(make, data):
    reader = make()
    with pytest.raises(TypeError):
        reader.feed(data, MOST)
    assert reader.buffered == 0


@pytest.mark.parametrize("make", MAKERS)
def test_readers_have_no_stray_attributes(make):
    with pytest.raises(AttributeError):
        make().stray = 1


@pytest.mark.parametrize("make", MAKERS)
@settings(deadline=None)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300)))
def test_any_bytes_give_the_same_on_any_split_f_1(make, data, cuts):
    def outcome(pieces):
        reader, found = make(), []
        try:
            for piece in pieces:
                got = reader.feed(piece, 3)
                while got:
                    found += got
                    got = reader.feed(b"", 3)
        except RemoteProtocolError as error:
            return normal(found), str(error)
        return normal(found), None

    def normal(found):
        if not found or isinstance(found[0], bytes):
            return found
        # Pieces differ by design; frames and the bytes of an unfinished one do not.
        whole, rest = joined(found), b""
        for piece in found:
            rest = b"" if piece[4] else rest + piece[3]
        return whole, rest

    assert outcome(cut_at(data, cuts)) == outcome([data]) == outcome(bytewise(data))
