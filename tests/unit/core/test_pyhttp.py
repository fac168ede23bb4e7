from __future__ import annotations

import pytest

from longline._core._pyhttp import ChunkedReader, RequestHead, encode_head, parse_head
from longline.errors import OversizeError, RemoteProtocolError


def parse(*lines: bytes, max_headers: int = 100) -> RequestHead:
    return parse_head(b"\r\n".join([*lines, b"", b""]), max_headers)


def test_head_says_what_came():
    head = parse(b"POST /a?b HTTP/1.1", b"Host: A:80", b"X: y ", b"x:z", b"Content-Length: 12")
    assert head.method == "POST"
    assert head.target == b"/a?b"
    assert head.minor == 1
    assert head.host == b"A:80"
    assert head.fields[1:3] == [(b"X", b" y "), (b"x", b"z")]
    assert head.content_length == 12
    assert not head.chunked
    assert head.keep_alive
    assert head.expectation == b""
    assert head.upgrade == b""


def test_head_has_no_room_for_anything_else():
    with pytest.raises(AttributeError):
        parse(b"GET / HTTP/1.0").extra = 1


@pytest.mark.parametrize(
    ("version", "options", "keep_alive"),
    [
        (b"1.1", [], True),
        (b"1.0", [], False),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"Close , x"], False),
        (b"1.1", [b"closed"], True),
        (b"1.1", [b"x", b"y,\tclose"], False),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
        (b"1.0", [b""], False),
    ],
)
def test_fate_of_the_connection(version, options, keep_alive):
    fields = [b"Connection: " + option for option in options]
    assert parse(b"GET / HTTP/" + version, b"Host: a", *fields).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        ([b"Connection: upgrade", b"Upgrade: WebSocket"], b"websocket"),
        ([b"Connection: x, UPGRADE", b"Upgrade: a, b"], b"a, b"),
        ([b"Upgrade: websocket"], b""),
        ([b"Connection: upgrade"], b""),
    ],
)
def test_upgrade_counts_when_connection_names_it(fields, upgrade):
    assert parse(b"GET / HTTP/1.1", b"Host: a", *fields).upgrade == upgrade


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"GET / HTTP/1.1", b"Host: a", b"X: a\nY: b"], 400),
        ([b"GET / HTTP/1.1", b"Host: a", *[b"X: y"] * 10], 431),
        ([b"GET / HTTP/1.2", b"Host: a", *[b"X: y"] * 10], 505),
        ([b"GET / HTTP/1.2", b"Host: a\n", *[b"X: y"] * 10], 400),
        ([b"TRACE / HTTP/1.1"], 405),
        ([b"TRACE / HTTP/1.1", b"X\0: y"], 400),
        ([b"GET / HTTP/1.1", b"bad X: y"], 400),
        ([b"GET / HTTP/1.1", b"Host: a", b"X", b"Y:"], 400),
    ],
    ids=["lf", "count", "version first", "lf first", "method", "form first", "skip", "no colon"],
)
def test_one_head_has_one_verdict(lines, status):
    with pytest.raises(RemoteProtocolError) as caught:
        parse(*lines, max_headers=10)
    assert caught.value.status == status


def test_every_byte_of_a_name_and_a_value_is_judged():
    """H-7, H-8: by the rules of RFC 9110, written anew here as sets."""
    letters = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    token = letters | set(b"!#$%&'*+-.^_`|~")
    value = {0x09} | set(range(0x20, 0x7F)) | set(range(0x80, 0x100))
    for byte in range(256):
        for line, good in (
            (b"X" + bytes([byte]) + b"Y: a", byte in token or byte == 0x3A),
            (b"X: a" + bytes([byte]) + b"b", byte in value),
        ):
            try:
                parse(b"GET / HTTP/1.0", line)
            except RemoteProtocolError:
                assert not good, (line, byte)
            else:
                assert good, (line, byte)


def test_every_byte_of_a_target_is_judged():
    """H-13."""
    for byte in range(256):
        good = (byte > 0x20 and byte not in (0x23, 0x7F)) or byte >= 0x80
        try:
            parse(b"GET /" + bytes([byte]) + b" HTTP/1.0")
        except RemoteProtocolError:
            assert not good, byte
        else:
            assert good, byte


def test_h18_hostile_heads_are_refused_without_backtracking():
    # With a pattern that backtracks each of these would run for minutes.
    for line in (b"a" * 100_000, b"X" * 50_000 + b" :", b"X:" + b" " * 100_000 + b"\0"):
        with pytest.raises(RemoteProtocolError):
            parse(b"GET / HTTP/1.1", b"Host: a", line)
    with pytest.raises(RemoteProtocolError):
        parse(b"GET " + b"/" * 100_000 + b" ")
    with pytest.raises(RemoteProtocolError):
        parse(b"GET http:" + b"/" * 100_000 + b" HTTP/1.1", b"Host: " + b"a" * 100_000 + b"@")


def read_all(data: bytes, size: int, limit: int | None = None) -> ChunkedReader:
    reader = ChunkedReader(limit)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        assert reader.feed(piece) == len(piece)
    return reader


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_chunks_at_any_split(size):
    data = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
    reader = read_all(data, size)
    assert reader.done
    assert reader.body == b"abc0123456789"
    assert reader.received == 13
    assert reader.trailers == [(b"X", b" y")]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_reader_takes_any_buffer_and_stops_at_the_end(kind):
    reader = ChunkedReader(None)
    assert reader.feed(kind(b"1\r\nx\r\n0\r\n\r\nnext")) == 11
    assert reader.done
    assert reader.feed(kind(b"more")) == 0


def test_received_counts_data_that_is_there():
    reader = ChunkedReader(None)
    for piece, received in ((b"5\r", 0), (b"\nab", 2), (b"cde", 5), (b"\r\n2\r\n", 5), (b"x", 6)):
        reader.feed(piece)
        assert reader.received == received


class CountingBytes(bytes):
    """Counts the bytes that `find` is asked to look at."""

    looked_at = 0

    def find(self, sub, start, end):
        CountingBytes.looked_at += min(end, len(self)) - start
        return super().find(sub, start, end)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_h18_each_byte_of_chunk_lines_is_looked_at_once(size):
    CountingBytes.looked_at = 0
    line = b"10;" + b"a" * 200 + b"\r\n"
    data = (line + b"x" * 16 + b"\r\n") * 100 + b"0\r\n" + b"X: y\r\n" * 20 + b"\r\n"
    reader = ChunkedReader(None)
    for start in range(0, len(data), size):
        reader.feed(CountingBytes(data[start : start + size]))
    assert reader.done
    # Each search ends with its line, or with the piece; its window is at most a line's limit.
    assert CountingBytes.looked_at <= 2 * len(data)


def test_b1_size_is_judged_when_it_is_announced():
    reader = ChunkedReader(10)
    with pytest.raises(OversizeError) as caught:
        reader.feed(b"40000000\r\n")
    assert caught.value.status == 413
    reader = ChunkedReader(10)
    reader.feed(b"A\r\n0123456789\r\n")
    with pytest.raises(OversizeError):
        reader.feed(b"1\r\n")


def test_b4_many_tiny_chunks_are_refused():
    reader = ChunkedReader(None)
    reader.feed(b"1\r\nx\r\n" * 4096)
    assert reader.received == 4096
    with pytest.raises(RemoteProtocolError) as caught:
        reader.feed(b"1\r\nx\r\n")
    assert caught.value.status == 400


def test_b4_many_chunks_of_some_size_are_taken():
    reader = ChunkedReader(None)
    reader.feed(b"10\r\n0123456789abcdef\r\n" * 5000 + b"0\r\n\r\n")
    assert reader.done
    assert reader.received == 80_000


def test_h12_trailer_section_of_exactly_the_limit_is_taken():
    line = b"X: " + b"a" * (4096 - 2 - 5) + b"\r\n"
    reader = ChunkedReader(None)
    reader.feed(b"0\r\n" + line + b"\r\n")
    assert reader.done
    with pytest.raises(RemoteProtocolError):
        ChunkedReader(None).feed(b"0\r\nX" + line + b"\r\n")


def test_response_head_is_joined():
    start = b"HTTP/1.1 200 OK\r\nServer: x\r\n"
    assert encode_head(start, [], 0) == start + b"Content-Length: 0\r\n\r\n"
    assert encode_head(start, [(b"A", b"b"), (b"C", b"")], -1) == start + b"A: b\r\nC: \r\n\r\n"
