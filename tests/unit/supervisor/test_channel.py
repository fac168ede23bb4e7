"""Frames and descriptors between processes: bounds, splits, hostile peers, no lost descriptor."""

# ruff: noqa: PT012  # it is some call of a series that raises
from __future__ import annotations

import array
import contextlib
import gc
import itertools
import json
import os
import resource
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longline.supervisor import channel as module
from longline.supervisor.channel import Channel, ChannelClosed, ChannelError, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct(">IB")


def frame(body: Any, fds: int = 0) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HEADER.pack(len(data), fds) + data


def open_fds() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def send_fds(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    rights = array.array("i", fds)
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    left, right = Channel.pair()
    channels = Channel(left), Channel(right)
    yield channels
    for channel in channels:
        channel.close()


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, Channel]]:
    """A peer that may send anything, and the channel that hears it."""
    left, right = Channel.pair()
    channel = Channel(right, max_message_bytes=1000)
    yield left, channel
    left.close()
    channel.close()


def test_a_message_arrives_as_it_was_sent(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.send({"do": "x", "text": "ä\ud800", "list": [1, None, 2.5]})
    assert [m.body for m in right.receive()] == [
        {"do": "x", "text": "ä\ud800", "list": [1, None, 2.5]}
    ]


def test_nothing_to_receive_is_an_empty_list(pair: tuple[Channel, Channel]) -> None:
    assert pair[0].receive() == []
    assert pair[0].receive_within(0) == []


def test_both_ends_are_closed_on_exec(pair: tuple[Channel, Channel]) -> None:
    assert not any(os.get_inheritable(channel.fileno()) for channel in pair)


def test_a_descriptor_arrives_as_a_copy_that_is_closed_on_exec(
    pair: tuple[Channel, Channel],
) -> None:
    left, right = pair
    reading, writing = os.pipe()
    left.send({"n": 1}, [writing])
    os.close(writing)
    (message,) = right.receive()
    (copy,) = message.fds
    assert not os.get_inheritable(copy)
    os.write(copy, b"hello")
    os.close(copy)
    assert os.read(reading, 10) == b"hello"
    assert os.read(reading, 10) == b""
    os.close(reading)


def test_each_frame_gets_its_own_descriptors(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    pipes = [os.pipe() for _ in range(4)]
    left.send({"n": 0}, [pipes[0][1]])
    left.send({"n": 1})
    left.send({"n": 2}, [pipes[1][1], pipes[2][1]])
    left.send({"n": 3}, [pipes[3][1]])
    got: list[tuple[int, list[int]]] = []
    while len(got) < 4:
        for message in right.receive_within(5):
            inodes = [os.fstat(fd).st_ino for fd in message.fds]
            got.append((message.body["n"], inodes))
            for fd in message.fds:
                os.close(fd)
    ino = [os.fstat(write).st_ino for _, write in pipes]
    assert got == [(0, [ino[0]]), (1, []), (2, ino[1:3]), (3, [ino[3]])]
    for pair_of_fds in pipes:
        for fd in pair_of_fds:
            os.close(fd)


@pytest.mark.parametrize("split", range(1, 40))
def test_any_split_gives_the_same_frames(raw: tuple[socket.socket, Channel], split: int) -> None:
    peer, channel = raw
    stream = frame({"a": 1}) + frame({"b": "two"}) + frame({"c": []})
    peer.send(stream[:split])
    got = channel.receive()
    if stream[split:]:
        peer.send(stream[split:])
        got += channel.receive()
    assert [m.body for m in got] == [{"a": 1}, {"b": "two"}, {"c": []}]


def test_a_descriptor_waits_for_the_end_of_its_frame(raw: tuple[socket.socket, Channel]) -> None:
    peer, channel = raw
    data = frame({"a": 1}, fds=1)
    with open(os.devnull) as file:
        send_fds(peer, data[:3], [file.fileno()])
        assert channel.receive() == []
        peer.send(data[3:])
        (message,) = channel.receive()
    assert len(message.fds) == 1
    os.close(message.fds[0])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEADER.pack(1001, 0), id="too-long"),
        pytest.param(HEADER.pack(2**32 - 1, 0), id="four-gigabytes"),
        pytest.param(HEADER.pack(2, 9) + b"{}", id="too-many-descriptors"),
        pytest.param(HEADER.pack(2, 1) + b"{}", id="without-its-descriptor"),
        pytest.param(frame([]), id="list"),
        pytest.param(frame(None), id="null"),
        pytest.param(frame(b""), id="empty"),
        pytest.param(frame(b"{"), id="cut"),
        pytest.param(frame(b"\xff\xfe"), id="no-text"),
        pytest.param(frame(b'{"a":' * 190), id="nested-and-cut"),
        pytest.param(frame(b"[" * 900), id="nested"),
        pytest.param(frame(b"{} {}"), id="two-objects"),
    ],
)
def test_hostile_frames_break_the_channel(raw: tuple[socket.socket, Channel], data: bytes) -> None:
    peer, channel = raw
    peer.send(data)
    with pytest.raises(ChannelError):
        channel.receive()


def test_a_number_of_very_many_digits_breaks_the_channel() -> None:
    left, right = Channel.pair()
    channel = Channel(right)
    left.sendall(frame(b'{"n":' + b"9" * 5000 + b"}"))
    with pytest.raises(ChannelError):
        channel.receive()
    left.close()
    channel.close()


def test_deep_nesting_breaks_the_channel_not_the_process() -> None:
    left, right = Channel.pair()
    channel = Channel(right)
    left.sendall(frame(b"[" * 60_000))
    with pytest.raises(ChannelError):
        channel.receive()
    left.close()
    channel.close()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_random_bytes_never_raise_anything_else(data: bytes, cuts: list[int]) -> None:
    left, right = Channel.pair()
    channel = Channel(right, max_message_bytes=200)
    try:
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for start, end in itertools.pairwise(edges):
            left.send(data[start:end])
            channel.receive()
    except ChannelError:
        pass
    finally:
        left.close()
        channel.close()


def test_more_descriptors_than_a_frame_may_carry_are_closed(
    raw: tuple[socket.socket, Channel],
) -> None:
    peer, channel = raw
    before = open_fds()
    with open(os.devnull) as file:
        send_fds(peer, frame({}), [file.fileno()] * 20)
        assert channel.receive() == [Message({}, [])]
    assert open_fds() == before
    channel.close()


def test_a_frame_whose_descriptors_find_no_place_is_delivered_without(
    raw: tuple[socket.socket, Channel],
) -> None:
    """C-5: a worker without a free descriptor must not take that for the master's death."""
    peer, channel = raw
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with open(os.devnull) as file:
        send_fds(peer, frame({"do": "lend"}, 1), [file.fileno()])
        highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(file.fileno()))
            assert channel.receive() == [Message({"do": "lend"}, [])]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for fd in taken:
                os.close(fd)
        send_fds(peer, frame({"do": "lend"}, 1), [file.fileno()])
        ((body, fds),) = channel.receive()
    assert body == {"do": "lend"}
    assert len(fds) == 1
    os.close(fds[0])
    channel.close()


def test_descriptors_that_no_frame_names_are_bounded(raw: tuple[socket.socket, Channel]) -> None:
    peer, channel = raw
    with open(os.devnull) as file, pytest.raises(ChannelError):
        for _ in range(20):
            send_fds(peer, frame({}, fds=0), [file.fileno()] * 8)
            channel.receive()


def test_a_closed_channel_leaves_no_descriptor_behind() -> None:
    before = open_fds()
    left, right = Channel.pair()
    sender, receiver = Channel(left), Channel(right)
    with open(os.devnull) as file:
        # A frame that never becomes whole, its descriptor already there ...
        send_fds(left, frame({"a": 1}, fds=1)[:4], [file.fileno()])
        receiver.receive()
        # ... and frames that the other side never reads.
        with pytest.raises(ChannelError):
            while True:
                sender.send({"pad": "x" * 5000}, [file.fileno()])
    sender.close()
    receiver.close()
    receiver.close()
    assert open_fds() == before
    assert receiver.fileno() == -1


def test_a_peer_that_does_not_read_is_waited_for_within_bounds(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED", 10)
    left, right = pair
    sent = 0
    with pytest.raises(ChannelError, match="does not read"):
        while True:
            left.send({"n": sent, "pad": "x" * 20_000})
            sent += 1
    assert left.wants_write
    got = 0
    while got < sent:
        messages = right.receive()
        assert [m.body["n"] for m in messages] == list(range(got, got + len(messages)))
        got += len(messages)
        left.flush()
    assert left.flush() is True
    assert not left.wants_write


def test_a_frame_that_is_written_in_pieces_sends_its_descriptor_once(
    pair: tuple[Channel, Channel],
) -> None:
    left, right = pair
    before = open_fds()
    with open(os.devnull) as file:
        left.send({"pad": "x" * 700_000}, [file.fileno()])
        left.send({"last": True}, [file.fileno()])
    got = []
    while len(got) < 2:
        left.flush()
        got += right.receive()
    assert [len(message.fds) for message in got] == [1, 1]
    for message in got:
        os.close(message.fds[0])
    assert open_fds() == before


def test_sending_to_a_peer_that_is_gone_says_so(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    right.close()
    with pytest.raises(ChannelClosed):
        left.send({})
    with pytest.raises(ChannelClosed):
        left.receive()


def test_what_a_peer_sent_before_it_went_is_still_received(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.send({"last": "words"})
    left.close()
    assert [m.body for m in right.receive()] == [{"last": "words"}]
    with pytest.raises(ChannelClosed):
        right.receive()


def test_using_a_closed_channel_says_that_it_is_closed(pair: tuple[Channel, Channel]) -> None:
    left, _ = pair
    left.close()
    with pytest.raises(ChannelClosed):
        left.receive()
    with pytest.raises(ChannelClosed):
        left.send({})


def test_too_large_a_message_is_refused_before_anything_is_sent(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SENT_BYTES", 100)
    left, right = pair
    with pytest.raises(ChannelError, match="too large"):
        left.send({"pad": "x" * 200})
    with pytest.raises(ChannelError, match="too large"):
        left.send({}, [0] * 9)
    assert right.receive() == []


def test_a_descriptor_that_cannot_be_copied_is_a_channel_error_without_a_leak(
    pair: tuple[Channel, Channel],
) -> None:
    left, right = pair
    reading, writing = os.pipe()
    before = open_fds()
    with pytest.raises(ChannelError, match="descriptor"):
        left.send({}, [reading, 1_000_000])
    assert open_fds() == before
    assert right.receive() == []
    os.close(reading)
    os.close(writing)
