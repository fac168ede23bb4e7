"""One WebSocket conversation: messages, control frames, close handshake, bounds."""

from __future__ import annotations

import random
import sys
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longline._core import FrameReader, encode_frame
from longline.errors import LocalProtocolError, OversizeError, RemoteProtocolError
from longline.limits import Limits
from longline.protocols.codec import FEED_BATCH
from longline.protocols.websocket import Closed, Ping, Pong, State, WebSocket
from longline.protocols.websocket.connection import MAX_EMPTY_FRAGMENTS, MAX_PENDING_PONGS
from longline.testing import check_codec

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"


def server(limit=10_000):
    return WebSocket(Limits(max_message_bytes=limit))


def client(limit=10_000):
    return WebSocket(Limits(max_message_bytes=limit), client=True)


def frame(opcode, payload=b"", *, fin=True):
    """A frame as a client sends it."""
    return encode_frame(opcode, payload, mask=KEY, fin=fin)


def part(opcode, payload=b""):
    return frame(opcode, payload, fin=False)


def frames(data, *, masked=False):
    """What our side sent, as `(opcode, payload)`."""
    reader = FrameReader(None, masked)
    pieces = reader.feed(data, 10_000)
    assert reader.buffered == 0
    assert all(done and fin for fin, _, _, _, done in pieces)
    return [(opcode, payload) for _, _, opcode, payload, _ in pieces]


def drain(codec, data):
    events = []
    found = codec.feed(data)
    while found:
        assert len(found) <= FEED_BATCH
        events += found
        found = codec.feed(b"")
    return events


def refusal(codec, data):
    """Feed until the codec refuses; return the events before and the error."""
    events = []
    try:
        found = codec.feed(data)
        while found:
            events += found
            found = codec.feed(b"")
    except RemoteProtocolError as error:
        return events, error
    pytest.fail("not refused")


MESSAGES = [
    # The ideas of Autobahn's chapters 1 (framing), 2 (ping, pong), 5 (fragments), 6 (UTF-8).
    pytest.param(frame(TEXT), [""], id="1.1.1 empty text"),
    pytest.param(frame(BINARY), [b""], id="1.2.1 empty binary"),
    *(
        pytest.param(frame(TEXT, b"*" * size), ["*" * size], id=f"1.1 text of {size}")
        for size in (125, 126, 127, 128)
    ),
    *(
        pytest.param(frame(BINARY, b"\xfe" * size), [b"\xfe" * size], id=f"1.2 binary of {size}")
        for size in (125, 126, 127, 128)
    ),
    pytest.param(frame(PING), [Ping()], id="2.1 empty ping"),
    pytest.param(frame(PING, b"hello"), [Ping(b"hello")], id="2.2 ping"),
    pytest.param(frame(PING, b"\0\xff\xfe"), [Ping(b"\0\xff\xfe")], id="2.3 binary ping"),
    pytest.param(frame(PING, b"\xfe" * 125), [Ping(b"\xfe" * 125)], id="2.4 ping of 125"),
    pytest.param(frame(PONG, b"x"), [Pong(b"x")], id="2.8 unsolicited pong"),
    pytest.param(part(TEXT, b"ab") + frame(CONT, b"cd"), ["abcd"], id="5.3 two fragments"),
    pytest.param(
        part(TEXT, b"ab") + frame(PING, b"!") + frame(CONT, b"cd"),
        [Ping(b"!"), "abcd"],
        id="5.6 ping between fragments",
    ),
    pytest.param(
        part(BINARY, b"a") + part(CONT) + frame(PONG) + part(CONT, b"\xff") + frame(CONT),
        [Pong(), b"a\xff"],
        id="5.8 empty fragments",
    ),
    pytest.param(part(TEXT) + part(CONT) + frame(CONT), [""], id="6.1.2 three empty fragments"),
    pytest.param(frame(TEXT, "κόσμε".encode()), ["κόσμε"], id="6.2.1 UTF-8"),
    pytest.param(
        part(TEXT, b"\xce") + part(CONT, b"\xba\xf0\x9f") + frame(CONT, b"\x98\x80"),
        ["κ😀"],
        id="6.2.3 characters across fragments",
    ),
    pytest.param(
        frame(TEXT, b"\xf4\x8f\xbf\xbf\xef\xbf\xbf\xef\xbb\xbf\0"),
        ["\U0010ffff\uffff\ufeff\0"],
        id="6.7 borders of Unicode",
    ),
    pytest.param(
        frame(TEXT, b"a") + part(BINARY, b"b") + frame(CONT, b"c") + frame(TEXT, b"d"),
        ["a", b"bc", "d"],
        id="messages in a row",
    ),
]


@pytest.mark.parametrize(("data", "events"), MESSAGES)
def test_messages_on_any_split(data, events):
    check_codec(server, [(data, events)])


@pytest.mark.parametrize(
    ("data", "closed"),
    [
        pytest.param(frame(CLOSE), Closed(1005), id="7.3.1 empty close"),
        pytest.param(frame(CLOSE, b"\x03\xe8"), Closed(1000), id="7.3.3 code"),
        pytest.param(frame(CLOSE, b"\x03\xe8bye"), Closed(1000, "bye"), id="7.3.4 reason"),
        pytest.param(
            frame(CLOSE, b"\x0b\xb8" + b"*" * 123), Closed(3000, "*" * 123), id="7.3.5 long reason"
        ),
    ],
)
@pytest.mark.parametrize("after", [b"", frame(TEXT, b"late"), frame(CLOSE, b"\0"), b"\xff\xff\xff"])
def test_nothing_is_delivered_after_a_close_frame_w_10(data, closed, after):
    check_codec(server, [(frame(TEXT, b"a") + data + after, ["a", closed])], trailing=False)


VIOLATIONS = [
    # The ideas of Autobahn's chapters 3 (reserved bits), 4 (opcodes), 2.5, 5, 6.3 to 6.22, 7.
    *(
        pytest.param(bytes((first, 0x80)) + KEY, 1002, id=f"3 and 4: first byte {first:#x}")
        for first in (0x91, 0xA1, 0xB1, 0xC1, 0xD1, 0xE1, 0xF9, 0x83, 0x87, 0x8B, 0x8F)
    ),
    pytest.param(b"\x89\xfe\x00\x7e" + KEY + b"x" * 126, 1002, id="2.5 ping of 126"),
    pytest.param(part(PING), 1002, id="5.1 fragmented ping"),
    pytest.param(part(PONG), 1002, id="5.2 fragmented pong"),
    pytest.param(part(CLOSE), 1002, id="fragmented close"),
    pytest.param(frame(CONT, b"x"), 1002, id="5.9 continuation of nothing"),
    pytest.param(part(TEXT, b"x") + frame(TEXT, b"y"), 1002, id="5.18 text inside a message"),
    pytest.param(part(TEXT, b"x") + part(BINARY, b"y"), 1002, id="5.18 binary inside a message"),
    pytest.param(b"\x81\x01x", 1002, id="W-3 unmasked"),
    *(
        pytest.param(frame(TEXT, payload), 1007, id=f"W-9 {payload.hex()}")
        for payload in (
            b"\x80",
            b"\xc0\xaf",
            b"\xc1\xbf",
            b"\xe0\x80\xaf",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xf0\x80\x80\xaf",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\xfe",
            b"\xff",
            b"\xce\xba\xe1\xbd",
            b"ok\xce",
        )
    ),
    pytest.param(part(TEXT, b"\xce") + frame(CONT, b"x"), 1007, id="W-9 across fragments"),
    pytest.param(part(TEXT, b"\xce") + frame(CONT), 1007, id="W-9 unfinished at the end"),
    pytest.param(frame(CLOSE, b"\x03"), 1002, id="7.3.2 half a code"),
    pytest.param(frame(CLOSE, b"\x03\xe8\xff"), 1007, id="7.5.1 reason not UTF-8"),
    *(
        pytest.param(frame(CLOSE, code.to_bytes(2, "big")), 1002, id=f"7.9 code {code}")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    pytest.param(part(TEXT) + part(CONT) * MAX_EMPTY_FRAGMENTS, 1008, id="W-6 empty fragments"),
    pytest.param(frame(TEXT, b"x" * 301), 1009, id="W-5 one frame"),
    pytest.param(part(TEXT, b"x" * 200) + frame(CONT, b"x" * 101), 1009, id="W-5 fragments"),
    pytest.param(b"\x82\xff" + (2**40).to_bytes(8, "big"), 1009, id="W-5 2**40 announced"),
]


@pytest.mark.parametrize(("data", "close_code"), VIOLATIONS)
def test_violations_on_any_split(data, close_code):
    check_codec(lambda: server(300), [], errors=[data, frame(TEXT, b"first") + data])
    codec = server(300)
    events, error = refusal(codec, frame(TEXT, b"first") + data)
    assert events == ["first"]
    assert error.close_code == close_code
    assert isinstance(error, OversizeError) == (close_code == 1009)
    ((opcode, payload),) = frames(codec.fail(error))
    assert (opcode, payload[:2]) == (CLOSE, close_code.to_bytes(2, "big"))


def test_a_masked_frame_of_a_server_is_refused_w_3():
    _, error = refusal(client(), frame(TEXT, b"x"))
    assert error.close_code == 1002


@pytest.mark.parametrize(
    "data",
    [
        # Autobahn 6.4: refuse at the byte that cannot be right, which is the last one here.
        pytest.param(frame(TEXT, b"ok\xffmore")[:-4], id="W-9 inside a frame"),
        pytest.param(frame(TEXT, b"\xf4\x90\x80\x80")[:-2], id="W-9 inside a character"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80")[:-1], id="W-9 surrogate"),
        pytest.param(
            part(TEXT, b"\xce") + part(CONT, b"\xba\xe1xy")[:-1], id="W-9 in the next fragment"
        ),
    ],
)
def test_invalid_utf8_is_refused_before_the_frame_is_complete(data):
    codec = server()
    for byte in data[:-1]:
        assert codec.feed(bytes((byte,))) == []
    _, error = refusal(codec, data[-1:])
    assert error.close_code == 1007


def cut_at(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def fragmented(message, sizes):
    """The frames of a message whose fragments have the sizes given, as far as they reach."""
    text = isinstance(message, str)
    payload = message.encode() if text else message
    chunks = []
    for size in sizes:
        chunks.append(payload[:size])
        payload = payload[size:]
    chunks.append(payload)
    opcodes = [TEXT if text else BINARY] + [CONT] * (len(chunks) - 1)
    return b"".join(
        frame(opcode, chunk, fin=index == len(chunks) - 1)
        for index, (opcode, chunk) in enumerate(zip(opcodes, chunks, strict=True))
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text() | st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=9))
    ),
    st.lists(st.integers(0, 5000), max_size=30),
)
def test_fragments_and_splits_do_not_change_messages(messages, cuts):
    data = b"".join(fragmented(message, sizes) for message, sizes in messages)
    codec = server()
    events = []
    for piece in cut_at(data, cuts):
        events += drain(codec, piece)
    assert events == [message for message, _ in messages]
    assert codec.buffered == 0
    assert not codec.message_open


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400)), st.booleans())
def test_any_bytes_give_the_same_on_any_split_f_1(data, cuts, masked):
    def outcome(pieces):
        codec = WebSocket(Limits(max_message_bytes=1000), client=not masked)
        events = []
        try:
            for piece in pieces:
                events += drain(codec, piece)
        except RemoteProtocolError as error:
            return events, error.close_code
        return events, None

    whole = outcome([data])
    assert outcome(cut_at(data, cuts)) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


# Sending


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("grüße", (TEXT, "grüße".encode())),
        ("", (TEXT, b"")),
        (b"\xff", (BINARY, b"\xff")),
        (bytearray(b"ab"), (BINARY, b"ab")),
        (memoryview(b"ab"), (BINARY, b"ab")),
        ({"a": [1, None]}, (TEXT, b'{"a":[1,null]}')),
        ([], (TEXT, b"[]")),
    ],
)
def test_messages_are_sent_as_one_frame(message, expected):
    assert isinstance(message, WebSocket.accepts)
    assert frames(server().encode(message)) == [expected]
    assert frames(client().encode(message), masked=True) == [expected]


@pytest.mark.parametrize("message", [None, 5, True, 2.5, object(), ("a",), {"a": object()}])
def test_other_types_are_refused(message):
    with pytest.raises(TypeError):
        server().encode(message)


def test_text_with_lone_surrogates_is_refused():
    for message in ("\ud800", ["\ud800"]):
        with pytest.raises(LocalProtocolError):
            server().encode(message)


def test_a_client_masks_each_frame_with_another_key_w_3():
    codec = client()
    assert len({codec.encode(bytes(32)) for _ in range(8)}) == 8


def test_a_ping_carries_its_payload():
    assert frames(server().ping()) == [(PING, b"")]
    assert frames(client().ping(b"x" * 125), masked=True) == [(PING, b"x" * 125)]


def test_a_long_ping_is_refused():
    with pytest.raises(LocalProtocolError):
        server().ping(b"x" * 126)


# Pings that arrive


def test_pings_are_answered_in_order_once():
    codec = server()
    codec.feed(frame(PING, b"1") + frame(PING, b"2"))
    assert frames(codec.outgoing()) == [(PONG, b"1"), (PONG, b"2")]
    assert codec.outgoing() == b""


def test_a_client_masks_its_pongs():
    codec = client()
    codec.feed(encode_frame(PING, b"1"))
    assert frames(codec.outgoing(), masked=True) == [(PONG, b"1")]


def test_of_a_flood_of_pings_the_latest_are_answered_w_7():
    codec = server()
    for number in range(10_000):
        drain(codec, frame(PING, b"%d" % number))
    answers = frames(codec.outgoing())
    assert len(answers) == MAX_PENDING_PONGS
    assert answers[-1] == (PONG, b"9999")


def test_a_flood_of_pings_that_nobody_answers_is_bounded_w_7():
    codec = server()
    flood = frame(PING, b"x" * 125) * 1000
    drain(codec, flood)
    tracemalloc.start()
    try:
        for _ in range(20):
            drain(codec, flood)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 64 * 1024
    assert codec.controls_since_data == 21_000


def test_control_frames_are_counted_until_data_comes():
    codec = server()
    codec.feed(frame(PING) + frame(PONG) + part(TEXT, b""))
    assert codec.controls_since_data == 2
    codec.feed(part(CONT, b"x")[:-1])
    assert codec.controls_since_data == 2
    codec.feed(part(CONT, b"x")[-1:])
    assert codec.controls_since_data == 0
    codec.feed(frame(PING))
    codec.feed(frame(CONT))
    assert codec.controls_since_data == 0


# Bounds


def test_a_flood_of_messages_is_served_in_turns():
    codec = server()
    assert codec.feed(frame(TEXT, b"x") * (FEED_BATCH + 2)) == ["x"] * FEED_BATCH
    assert codec.buffered > 0
    assert codec.feed(b"") == ["x", "x"]
    assert codec.feed(b"") == []


def test_an_empty_answer_means_that_more_bytes_are_needed():
    codec = server()
    data = part(TEXT, b"x") + part(CONT, b"x") * 500 + frame(CONT, b"x") + frame(CONT, b"x")
    assert codec.feed(data) == ["x" * 502]
    with pytest.raises(RemoteProtocolError):
        codec.feed(b"")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_half_a_million_fragments_leave_no_objects_behind_w_6(opcode):
    codec = WebSocket(Limits())
    codec.feed(part(opcode, b"x"))
    fragments = part(CONT, b"x") * 5000
    blocks = sys.getallocatedblocks()
    for _ in range(100):
        assert codec.feed(fragments) == []
    assert sys.getallocatedblocks() - blocks < 1000
    assert codec.message_open
    (message,) = codec.feed(frame(CONT))
    assert len(message) == 500_001


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_fragments_weigh_what_their_bytes_weigh_w_6(opcode):
    # The bound of half a million (2 MiB) for a tenth of them: tracing is slow.
    codec = WebSocket(Limits())
    codec.feed(part(opcode, b"x"))
    fragments = part(CONT, b"x") * 5000
    tracemalloc.start()
    try:
        for _ in range(10):
            assert codec.feed(fragments) == []
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 2 * 1024 * 1024 // 10


def test_an_announced_length_allocates_nothing_w_5():
    codec = WebSocket(Limits(max_message_bytes=None))
    tracemalloc.start()
    try:
        assert codec.feed(b"\x82\xff" + (2**40).to_bytes(8, "big") + KEY + b"x" * 1000) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


def test_unfinished_fragments_count_as_buffered_and_open():
    codec = server()
    assert not codec.message_open
    codec.feed(part(TEXT, b"abc"))
    assert (codec.buffered, codec.message_open) == (3, True)
    codec.feed(frame(CONT, b"de")[:-1])
    assert (codec.buffered, codec.message_open) == (4, True)
    codec.feed(frame(CONT, b"de")[-1:])
    assert (codec.buffered, codec.message_open) == (0, False)


def test_a_row_of_empty_fragments_may_be_interrupted_w_6():
    codec = server()
    row = part(CONT) * (MAX_EMPTY_FRAGMENTS - 1)
    assert codec.feed(part(TEXT) + row + part(CONT, b"x") + row + frame(CONT)) == ["x"]
    assert codec.feed(part(TEXT) + row + frame(CONT)) == [""]


# The close handshake


def test_a_peer_that_closes_gets_its_code_back_once_w_10():
    codec = server()
    assert codec.feed(frame(CLOSE, b"\x0f\xa0bye")) == [Closed(4000, "bye")]
    assert frames(codec.outgoing()) == [(CLOSE, b"\x0f\xa0")]
    assert codec.outgoing() == codec.close() == b""
    assert codec.state is State.CLOSED
    assert codec.close_received
    assert codec.close_sent
    assert (codec.close_code, codec.close_reason) == (4000, "bye")
    assert codec.eof() == []


def test_an_answer_may_go_out_in_front_of_the_echo():
    codec = client()
    codec.feed(encode_frame(TEXT, b"question") + encode_frame(CLOSE, b"\x03\xe8"))
    answer = codec.encode("answer")
    sent = frames(answer + codec.outgoing(), masked=True)
    assert sent == [(TEXT, b"answer"), (CLOSE, b"\x03\xe8")]
    assert codec.close_sent


def test_an_empty_close_is_echoed_empty():
    codec = client()
    assert codec.feed(encode_frame(CLOSE, b"")) == [Closed(1005)]
    assert frames(codec.outgoing(), masked=True) == [(CLOSE, b"")]


def test_pings_before_a_close_are_answered_before_its_echo():
    codec = server()
    codec.feed(frame(PING, b"1") + frame(CLOSE))
    assert frames(codec.outgoing()) == [(PONG, b"1"), (CLOSE, b"")]


def test_a_close_of_ours_is_sent_once_and_awaits_the_peers_w_10():
    codec = server()
    assert frames(codec.close(1001, "bye")) == [(CLOSE, b"\x03\xe9bye")]
    assert codec.close() == b""
    assert codec.state is State.CLOSING
    assert (codec.close_sent, codec.close_received, codec.close_code) == (True, False, None)
    assert codec.feed(frame(TEXT, b"crossed")) == ["crossed"]
    assert codec.feed(frame(CLOSE, b"\x03\xe9")) == [Closed(1001)]
    assert codec.outgoing() == b""
    assert codec.state is State.CLOSED


def test_a_peer_that_leaves_without_a_close_is_1006():
    codec = server()
    codec.feed(part(TEXT, b"abc"))
    assert codec.eof() == [Closed(1006)]
    assert codec.eof() == []
    assert codec.close_code == 1006
    assert codec.buffered == 0
    assert codec.close() == codec.outgoing() == b""
    codec = server()
    codec.close()
    assert codec.eof() == [Closed(1006)]


def close_sent(codec):
    codec.close()


def close_received(codec):
    codec.feed(frame(CLOSE))
    codec.outgoing()


def failed(codec):
    codec.fail(RemoteProtocolError("bad"))


@pytest.mark.parametrize("end", [close_sent, close_received, failed])
def test_nothing_can_be_sent_behind_a_close_frame_w_10(end):
    codec = server()
    end(codec)
    for send in (lambda: codec.encode("x"), lambda: codec.ping()):
        with pytest.raises(LocalProtocolError):
            send()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000])
def test_a_code_that_must_not_be_sent_is_refused_w_10(code):
    codec = server()
    with pytest.raises(ValueError, match="cannot carry"):
        codec.close(code)
    assert codec.state is State.OPEN
    assert codec.close(1012)


def test_a_long_close_reason_is_refused():
    codec = server()
    with pytest.raises(ValueError, match="123"):
        codec.close(1000, "x" * 124)
    assert codec.state is State.OPEN


# Failing


def test_a_failure_is_told_once_and_ends_the_conversation():
    codec = server()
    error = RemoteProtocolError("bad", close_code=1008)
    assert frames(codec.fail(error)) == [(CLOSE, b"\x03\xf0bad")]
    assert codec.fail(error) == codec.close() == b""
    assert codec.state is State.CLOSED
    assert (codec.close_code, codec.close_reason) == (1008, "bad")
    assert codec.feed(frame(TEXT, b"late")) == codec.eof() == []


def test_a_failure_after_our_close_frame_sends_no_second_one():
    codec = server()
    codec.close()
    assert codec.fail(RemoteProtocolError("bad")) == b""
    assert codec.state is State.CLOSED


def test_a_long_error_text_is_cut_to_fit():
    ((_, payload),) = frames(server().fail(RemoteProtocolError("é" * 200)))
    assert len(payload) <= 125


def test_an_error_stays_and_the_end_of_the_stream_shows_it_too():
    codec = server()
    assert codec.feed(frame(TEXT, b"a") + frame(CONT)) == ["a"]
    for call in (codec.eof, lambda: codec.feed(b""), lambda: codec.feed(frame(TEXT, b"b"))):
        with pytest.raises(RemoteProtocolError):
            call()


# Two ends of ours, and foreign ones


@settings(deadline=None, max_examples=50)
@given(st.integers())
def test_two_ends_agree_whatever_the_network_does(seed):
    chance = random.Random(seed)
    ends = {True: client(), False: server()}
    wires = {True: bytearray(), False: bytearray()}
    sent = {True: [], False: []}
    got = {True: [], False: []}
    for _ in range(100):
        side = chance.random() < 0.5
        action = chance.randrange(6)
        if action < 2:
            message = chance.choice(
                ["text", "é" * chance.randrange(200), b"\xff" * chance.randrange(200)]
            )
            wires[side] += ends[side].encode(message)
            sent[side].append(message)
        elif action == 2:
            wires[side] += ends[side].ping(b"?")
        else:
            deliver(ends[side], wires[not side], wires[side], got[side], chance.randrange(300))
    wires[True] += ends[True].close(1001, "end")
    for side in (False, True, False):
        deliver(ends[side], wires[not side], wires[side], got[side], 100_000)
    for side in (True, False):
        assert [event for event in got[side] if isinstance(event, str | bytes)] == sent[not side]
        assert ends[side].state is State.CLOSED
        assert got[side][-1].code == 1001
    assert not wires[True]
    assert not wires[False]


def deliver(codec, inbound, outbound, events, size):
    data = bytes(inbound[:size])
    del inbound[:size]
    events += drain(codec, data)
    outbound += codec.outgoing()


websockets = pytest.importorskip("websockets")


def foreign_messages(protocol):
    events = protocol.events_received()
    return [(event.opcode, event.data) for event in events if event.opcode in (TEXT, BINARY)]


def foreign_ends():
    from websockets.client import ClientProtocol
    from websockets.protocol import State as ForeignState
    from websockets.server import ServerProtocol
    from websockets.uri import parse_uri

    opened = {"state": ForeignState.OPEN, "max_size": None}
    yield server(200_000), ClientProtocol(parse_uri("ws://localhost/"), **opened)
    yield client(200_000), ServerProtocol(**opened)


@pytest.mark.parametrize("which", [0, 1], ids=["our server", "our client"])
def test_a_foreign_end_agrees(which):
    ours, theirs = list(foreign_ends())[which]
    theirs.send_text("grüße".encode())
    theirs.send_binary(b"\xff" * 70_000)
    theirs.send_text(b"fr\xc3", fin=False)
    theirs.send_ping(b"ping")
    theirs.send_continuation(b"\xa4g", fin=True)
    events = drain(ours, b"".join(theirs.data_to_send()))
    assert events == ["grüße", b"\xff" * 70_000, Ping(b"ping"), "fräg"]

    theirs.receive_data(
        ours.outgoing() + ours.encode("x" * 300) + ours.encode(b"\0") + ours.ping(b"!")
    )
    assert foreign_messages(theirs) == [(TEXT, b"x" * 300), (BINARY, b"\0")]
    assert drain(ours, b"".join(theirs.data_to_send())) == [Pong(b"!")]


@pytest.mark.parametrize("which", [0, 1], ids=["our server", "our client"])
def test_a_foreign_end_closes_with_us(which):
    ours, theirs = list(foreign_ends())[which]
    theirs.send_close(4001, "done")
    assert drain(ours, b"".join(theirs.data_to_send())) == [Closed(4001, "done")]
    theirs.receive_data(ours.outgoing())
    assert (theirs.close_rcvd.code, theirs.close_rcvd_then_sent) == (4001, False)

    ours, theirs = list(foreign_ends())[which]
    theirs.receive_data(ours.close(1001, "away"))
    assert (theirs.close_rcvd.code, theirs.close_rcvd.reason) == (1001, "away")
    assert drain(ours, b"".join(theirs.data_to_send()))[-1].code == 1001
