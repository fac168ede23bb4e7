from __future__ import annotations

import pytest

from longline._core import parse_head
from longline.errors import RemoteProtocolError
from longline.protocols.http import Request


def make(
    target: bytes = b"/",
    *fields: bytes,
    body: bytes = b"",
    method: bytes = b"GET",
    max_fields: int | None = 1000,
) -> Request:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: example.com:8080", *fields, b"", b""]
    return Request(parse_head(b"\r\n".join(lines), 100), body, max_fields=max_fields)


def test_parts_of_a_request():
    request = make(b"/a%20b?c=d", b"Accept: x", body=b"hello", method=b"PUT")
    assert request.method == "PUT"
    assert request.target == "/a%20b?c=d"
    assert request.raw_path == "/a%20b"
    assert request.path == "/a b"
    assert request.query_string == "c=d"
    assert request.version == "1.1"
    assert request.host == "example.com:8080"
    assert request.body == b"hello"
    assert request.text == "hello"
    assert request.keep_alive
    assert request.upgrade is None
    assert request.header("accept") == "x"
    assert request.header("x") is None
    assert request.header("x", "y") == "y"
    assert len(request.trailers) == 0
    assert request.connection is None


def test_a_compact_request_says_what_it_said_before():
    fields = (b"Accept:  x ", b"X-A: 1:2", b"x-a:", b"Cookie: a=b", b"Upgrade: websocket",
              b"Connection: upgrade")  # fmt: skip
    names = ("method", "target", "raw_path", "path", "query_string", "query", "version", "host",
             "body", "text", "keep_alive", "upgrade", "cookies")  # fmt: skip
    request = make(b"/a%20b?c=d&c=e", *fields, body=b"hello")
    request.user = "somebody"

    def said():
        return (
            [getattr(request, name) for name in names],
            request.headers.raw,
            list(request.trailers.raw),
            request.query_all("c"),
            request.user,
        )

    before = said()
    for _ in range(2):
        request.compact()
        assert "headers" not in vars(request)
        assert said() == before


def test_repr_is_one_line_of_printable_text():
    assert repr(make(b"/\x80")) == "<Request GET '/\\x80'>"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/a", "/a", ""),
        (b"/a?", "/a", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"//evil.example/x", "//evil.example/x", ""),
        (b"///", "///", ""),
        (b"/%2e%2e/%2F%00", "/..//\0", ""),
        (b"/%252e", "/%2e", ""),
        (b"/%C3%A4", "/ä", ""),
        (b"/%ff%C3", "/\ufffd\ufffd", ""),
        (b"/\xc3\xa4", "/ä", ""),
        (b"/%", "/%", ""),
        (b"/%4", "/%4", ""),
        (b"/a+b", "/a+b", ""),
        (b"/a/http://b/", "/a/http://b/", ""),
        (b"http://example.com:8080/a?b", "/a", "b"),
        (b"https://example.com:8080", "/", ""),
        (b"http://example.com:8080?b", "/", "b"),
    ],
)
def test_h13_target_is_split_and_decoded_once(target, path, query):
    request = make(target)
    assert (request.path, request.query_string) == (path, query)


def test_asterisk_is_the_path_of_options():
    assert make(b"*", method=b"OPTIONS").path == "*"
    assert make(b"http://example.com:8080", method=b"OPTIONS").path == "*"
    assert make(b"http://example.com:8080/", method=b"OPTIONS").path == "/"


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (b"", {}),
        (b"a=b", {"a": ["b"]}),
        (b"a=b&c=d&a=e", {"a": ["b", "e"], "c": ["d"]}),
        (b"a&b=&=c&&", {"a": [""], "b": [""], "": ["c"]}),
        (b"a+b=c+d%2B%20%26", {"a b": ["c d+ &"]}),
        (b"%C3%A4=%C3%B6&x=%ff", {"ä": ["ö"], "x": ["\ufffd"]}),
        (b"a=b=c;d=e", {"a": ["b=c;d=e"]}),
    ],
)
def test_query_is_decoded(query, fields):
    request = make(b"/?" + query)
    assert {name: request.query_all(name) for name in request.query} == fields
    assert dict(request.query) == {name: values[-1] for name, values in fields.items()}
    assert request.query_all("absent") == []


def test_l1_number_of_query_fields_is_limited():
    assert make(b"/?a&b&c", max_fields=3).query == {"a": "", "b": "", "c": ""}
    assert len(make(b"/?" + b"&".join(b"%d" % i for i in range(1500)), max_fields=None).query)
    for look in (lambda request: request.query, lambda request: request.query_all("a")):
        with pytest.raises(RemoteProtocolError) as caught:
            look(make(b"/?a&b&c&d", max_fields=3))
        assert caught.value.status == 400


def test_cookies_of_several_fields():
    request = make(b"/", b"Cookie: a=b; c=d", b"Cookie: e=%20; @=x")
    assert request.cookies == {"a": "b", "c": "d", "e": "%20"}
    assert make().cookies == {}


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        (b"text/plain", "\ufffd"),
        (b"text/plain; charset=utf-8", "\ufffd"),
        (b"text/plain; charset=ISO-8859-1", "\xe4"),
        (b"text/plain; charset=punycode", "\ufffd"),
    ],
)
def test_text_is_decoded_by_two_encodings_only(content_type, text):
    assert make(b"/", b"Content-Type: " + content_type, body=b"\xe4").text == text


def test_text_is_utf_8():
    assert make(body="ä€".encode()).text == "ä€"


@pytest.mark.parametrize("value", [None, True, 1, -2.5, "ä", [], {"a": [1, {"b": None}]}])
def test_json_is_decoded(value):
    import json

    assert make(body=json.dumps(value).encode()).json() == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} x",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"'a'",
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"-" + b"1" * 5000,
    ],
    ids=lambda body: repr(body[:10]),
)
def test_b10_json_that_no_two_readers_agree_on_is_400(body):
    with pytest.raises(RemoteProtocolError) as caught:
        make(body=body).json()
    assert caught.value.status == 400


def test_b13_json_is_decoded_anew_each_time():
    request = make(body=b"[]")
    request.json().append(1)
    assert request.json() == []


def test_request_has_room_for_the_applications_own():
    request = make()
    request.user = "u"
    assert request.user == "u"
    assert not hasattr(make(), "user")


def test_trailers_are_apart_from_headers():
    """H-12."""
    head = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 10)
    request = Request(head, b"", [(b"X-Sum", b" 1")])
    assert request.trailers["x-sum"] == "1"
    assert "x-sum" not in request.headers
