from __future__ import annotations

import pytest

from longline.protocols.http.cookie import MAX_COOKIES, format_cookie, parse_cookies

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F)]


@pytest.mark.parametrize(
    ("field", "cookies"),
    [
        (b"", {}),
        (b"a=b", {"a": "b"}),
        (b"a=b; c=d", {"a": "b", "c": "d"}),
        (b"a=b;c=d;", {"a": "b", "c": "d"}),
        (b"  a =\tb ;;; c= d ", {"a": "b", "c": "d"}),
        (b"a=", {"a": ""}),
        (b'a="b c"', {"a": "b c"}),
        (b'a="', {"a": '"'}),
        (b"a=b=c==", {"a": "b=c=="}),
        (b"a=1; a=2", {"a": "1"}),
        (b"a=%20%3B+", {"a": "%20%3B+"}),
        (b"a=\xe4", {"a": "\xe4"}),
        (b"novalue; a=b", {"a": "b"}),
        (b"=b; a=b", {"a": "b"}),
        (b"b@d=1; \xe4=2; a b=3; ok=4", {"ok": "4"}),
        (b"a=\x01; b=\x7f; ok=1", {"ok": "1"}),
    ],
)
def test_cookies_are_read_leniently(field, cookies):
    assert parse_cookies(field) == cookies


def test_cookies_beyond_the_number_are_left_out():
    cookies = parse_cookies(b"; ".join(b"c%d=x" % i for i in range(150)))
    assert len(cookies) == MAX_COOKIES == 100
    assert "c99" in cookies
    assert "c100" not in cookies


def test_cookies_beyond_the_size_are_left_out_whole():
    assert parse_cookies(b"a=b; c=" + b"d" * 8192) == {"a": "b"}
    assert parse_cookies(b"a=" + b"d" * 9000) == {}
    assert parse_cookies(b"a=" + b"d" * 8190) == {"a": "d" * 8190}


def test_b7_reading_takes_no_more_pieces_than_there_may_be_cookies():
    class Pieces(bytes):
        def split(self, separator, most):
            pieces = super().split(separator, most)
            assert len(pieces) <= MAX_COOKIES + 1
            return pieces

    assert parse_cookies(Pieces(b";" * 8000)) == {}


def test_cookie_has_safe_defaults():
    assert format_cookie("a", "b") == "a=b; Path=/; HttpOnly; SameSite=Lax"


def test_cookie_with_everything():
    cookie = format_cookie(
        "a",
        "b",
        max_age=60,
        path="/x",
        domain="example.com",
        secure=True,
        http_only=False,
        same_site="None",
    )
    assert cookie == "a=b; Max-Age=60; Path=/x; Domain=example.com; Secure; SameSite=None"


def test_cookie_with_nothing():
    assert format_cookie("a", "", path=None, http_only=False, same_site=None) == "a="


@pytest.mark.parametrize("part", ["name", "value", "path", "domain", "same_site"])
@pytest.mark.parametrize("bad", [*CONTROLS, ";", "\x80", "\u212a", "\u2028"])
def test_o1_bad_byte_in_a_cookie_raises(part, bad):
    arguments = {"name": "a", "value": "b", "path": "/", "domain": "c", "same_site": "Lax"}
    for text in (bad, "/a" + bad, bad + "a", "a" + bad + "b"):
        with pytest.raises(ValueError, match=r"a cookie's"):
            format_cookie(**{**arguments, part: text})


@pytest.mark.parametrize(
    ("part", "bad"),
    [
        *(("name", c) for c in ["", " ", "=", ",", '"', "a b", "(", "é"]),
        *(("value", c) for c in [" ", ",", '"', "\\", "a b", "é"]),
        *(("path", c) for c in ["", "a", "x/"]),
        *(("domain", c) for c in ["", "a b", "a/b", "a:80"]),
        *(("same_site", c) for c in ["", "lax", "None"]),
    ],
)
def test_o1_bad_part_of_a_cookie_raises(part, bad):
    with pytest.raises(ValueError, match=r"a cookie"):
        format_cookie(**{"name": "a", "value": "b", part: bad})


@pytest.mark.parametrize(
    ("part", "bad"),
    [("name", b"a"), ("value", 1), ("value", None), ("path", 1), ("domain", b"a"),
     ("max_age", "1"), ("max_age", 1.5), ("max_age", True)],
)  # fmt: skip
def test_part_of_another_type_raises(part, bad):
    with pytest.raises(TypeError):
        format_cookie(**{"name": "a", "value": "b", part: bad})


def test_what_is_written_is_read_back():
    cookie = format_cookie("a.b", "!#$%&'()*+-./:<=>?@[]^_`{|}~")
    assert parse_cookies(cookie.partition(";")[0].encode()) == {
        "a.b": "!#$%&'()*+-./:<=>?@[]^_`{|}~"
    }
