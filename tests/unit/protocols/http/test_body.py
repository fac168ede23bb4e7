from __future__ import annotations

import pytest

from longline._core import parse_head
from longline.errors import OversizeError, RemoteProtocolError
from longline.protocols.http.body import NO_BODY, ChunkedBody, SizedBody, open_body


def head_with(*fields: bytes):
    lines = [b"POST / HTTP/1.1", b"Host: a", *fields, b"", b""]
    return parse_head(b"\r\n".join(lines), 10)


def test_head_decides_which_reader_is_opened():
    assert open_body(head_with(), 10) is NO_BODY
    assert open_body(head_with(b"Content-Length: 0"), 10) is NO_BODY
    assert isinstance(open_body(head_with(b"Content-Length: 10"), 10), SizedBody)
    assert isinstance(open_body(head_with(b"Transfer-Encoding: chunked"), 10), ChunkedBody)


def test_b1_announced_length_above_the_limit_is_refused():
    with pytest.raises(OversizeError) as caught:
        open_body(head_with(b"Content-Length: 11"), 10)
    assert caught.value.status == 413
    assert isinstance(open_body(head_with(b"Content-Length: 9999999999999999999"), None), SizedBody)


def test_no_body_takes_nothing():
    buffer = bytearray(b"next")
    assert NO_BODY.feed(buffer)
    assert buffer == b"next"
    assert NO_BODY.take() == b""
    assert (NO_BODY.received, NO_BODY.held, list(NO_BODY.trailers)) == (0, 0, [])


@pytest.mark.parametrize("size", [1, 7, 64 * 1024])
def test_h18_sized_body_takes_every_byte_at_once(size):
    total = 50_000
    body = SizedBody(total)
    for start in range(0, total, size):
        buffer = bytearray(min(size, total - start))
        done = body.feed(buffer)
        assert not buffer
        assert body.received == min(start + size, total)
        assert done == (body.received == total)
    assert len(body.take()) == total


def test_sized_body_leaves_what_is_behind_it():
    body = SizedBody(3)
    buffer = bytearray(b"abcdef")
    assert body.feed(buffer)
    assert buffer == b"def"
    assert body.take() == b"abc"
    assert body.take() == b""


def test_body_can_be_taken_piece_by_piece():
    sized, chunked = SizedBody(6), ChunkedBody(10)
    assert not sized.feed(bytearray(b"abc"))
    assert not chunked.feed(bytearray(b"6\r\nabc"))
    for body in (sized, chunked):
        assert body.held == 3
        assert body.take() == b"abc"
        assert body.held == 0
        assert body.received == 3
    assert sized.feed(bytearray(b"def"))
    assert chunked.feed(bytearray(b"def\r\n0\r\n\r\n"))
    for body in (sized, chunked):
        assert body.take() == b"def"
        assert body.received == 6


def test_chunked_body_leaves_what_is_behind_it():
    body = ChunkedBody(10)
    buffer = bytearray(b"3\r\nabc\r\n0\r\nX: y\r\n\r\nnext")
    assert body.feed(buffer)
    assert buffer == b"next"
    assert list(body.trailers) == [(b"X", b" y")]


def test_chunked_body_passes_on_errors():
    with pytest.raises(RemoteProtocolError):
        ChunkedBody(10).feed(bytearray(b"z\r\n"))
