from __future__ import annotations

import pytest

from longline.errors import OversizeError, RemoteProtocolError
from longline.limits import Limits
from longline.protocols.http import Headers, head
from longline.protocols.http.head import HeadReader

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


class CountingBuffer(bytearray):
    """Counts the bytes that `find` is asked to look at."""

    looked_at = 0

    def find(self, sub, start=0, end=None):
        stop = len(self) if end is None else min(end, len(self))
        self.looked_at += max(stop - start, 0)
        return super().find(sub, start, stop)


class CountingPattern:
    def __init__(self, pattern):
        self.pattern = pattern
        self.looked_at = 0

    def search(self, data, start, end):
        self.looked_at += max(min(end, len(data)) - start, 0)
        return self.pattern.search(data, start, end)


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("line", [b"", b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n"])
def test_h18_each_byte_of_a_head_is_looked_at_a_constant_number_of_times(monkeypatch, size, line):
    pattern = CountingPattern(head._BARE_LF)
    monkeypatch.setattr(head, "_BARE_LF", pattern)
    data = (line + b"Host: a\r\n" if line else GET) + b"X: aaaaaaaaaaaaa\r\n" * 60 + b"\r\n"
    reader = HeadReader(Limits())
    buffer = CountingBuffer()
    for start in range(0, len(data), size):
        buffer += data[start : start + size]
        found = reader.read(buffer)
    assert found is not None
    # Two searches and the three bytes that a search for four has to look at again.
    assert buffer.looked_at + pattern.looked_at <= 6 * len(data)


def test_reader_leaves_what_is_behind_the_head():
    reader = HeadReader(Limits())
    buffer = bytearray(GET + b"\r\nrest")
    assert reader.read(buffer).method == "GET"
    assert buffer == b"rest"


def test_reader_waits_for_the_rest_of_a_head():
    reader = HeadReader(Limits())
    buffer = bytearray(GET)
    assert reader.read(buffer) is None
    buffer += b"\r\n"
    assert reader.read(buffer).host == b"a"


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\n", b"\n", b"GET / HTTP/1.1\r\nHost: a\n"])
def test_h6_bare_lf_is_refused_before_the_head_is_whole(beginning):
    with pytest.raises(RemoteProtocolError) as caught:
        HeadReader(Limits()).read(bytearray(beginning))
    assert caught.value.status == 400


def test_l1_default_limits_of_a_head():
    with pytest.raises(OversizeError) as caught:
        HeadReader(Limits()).read(bytearray(b"G" * (8 * 1024 + 2)))
    assert caught.value.status == 414
    with pytest.raises(OversizeError) as caught:
        HeadReader(Limits()).read(bytearray(GET.ljust(16 * 1024, b"a")))
    assert caught.value.status == 431


def test_head_limit_below_the_line_limit_is_the_one_that_counts():
    limits = Limits(max_head_bytes=50)
    for size in (50, 9000):
        with pytest.raises(OversizeError) as caught:
            HeadReader(limits).read(bytearray(b"G" * size))
        assert caught.value.status == 431


def test_headers_are_found_in_any_case_of_letters():
    headers = Headers([(b"X-Name", b" value\t")])
    for name in ("X-Name", "x-name", "X-NAME"):
        assert headers[name] == headers.get(name) == "value"
        assert name in headers
    assert headers.get("X-Other") is None
    assert headers.get("X-Other", "b") == "b"
    with pytest.raises(KeyError):
        headers["X-Other"]


@pytest.mark.parametrize("name", ["Connection", "Cookie"])
def test_h20_kelvin_sign_is_no_letter_k(name):
    headers = Headers([(b"Cookie", b"a"), (b"X-K", b"b")])
    assert "Coo\u212aie" not in headers
    assert headers.get("X-\u212a") is None
    assert headers.get_all("X-?") == []


def test_h24_underscore_is_no_dash():
    headers = Headers([(b"X_Forwarded_For", b"a")])
    assert "X-Forwarded-For" not in headers
    assert headers["x_forwarded_for"] == "a"


def test_equal_names_are_joined():
    headers = Headers(
        [(b"Accept", b"a"), (b"cookie", b"b=c"), (b"ACCEPT", b"d"), (b"Cookie", b"e=f")]
    )
    assert headers["accept"] == "a, d"
    assert headers["cookie"] == "b=c; e=f"
    assert headers.get_all("Accept") == ["a", "d"]
    assert headers.get_all("X") == []


def test_set_cookie_is_never_joined():
    headers = Headers([(b"Set-Cookie", b"a=b"), (b"set-cookie", b"c=d")])
    assert headers["Set-Cookie"] == "a=b"
    assert headers.get_all("Set-Cookie") == ["a=b", "c=d"]


def test_headers_are_a_mapping():
    headers = Headers([(b"B", b"1"), (b"A", b"2"), (b"b", b"3")])
    assert list(headers) == ["b", "a"]
    assert len(headers) == 2
    assert dict(headers) == {"b": "1, 3", "a": "2"}
    assert list(headers.items()) == [("b", "1, 3"), ("a", "2")]
    assert headers.raw == [(b"B", b"1"), (b"A", b"2"), (b"b", b"3")]
    assert 1 not in headers
    assert not Headers()
    assert "B" in repr(headers)


def test_every_byte_of_a_value_has_a_text():
    assert Headers([(b"X", b"\xe9\x85")])["X"] == "\xe9\x85"
