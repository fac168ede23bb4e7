from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest

from longline.errors import LocalProtocolError
from longline.protocols.http import Response
from longline.protocols.http.response import reason_phrase

CONTROLS = [chr(code) for code in (*range(9), *range(0x0A, 0x20), 0x7F)]

BEYOND_LATIN_1 = ["\u0100", "\u2028", "\u212a", "\U0001f600", "\ud800"]

SETTERS = {
    "argument name": lambda bad: Response(headers={bad: "b"}),
    "argument value": lambda bad: Response(headers={"A": bad}),
    "item name": lambda bad: Response().headers.__setitem__(bad, "b"),
    "item value": lambda bad: Response().headers.__setitem__("A", bad),
    "add name": lambda bad: Response().headers.add(bad, "b"),
    "add value": lambda bad: Response().headers.add("A", bad),
    "setdefault": lambda bad: Response().headers.setdefault("A", bad),
    "update": lambda bad: Response().headers.update({"A": bad}),
    "content_type argument": lambda bad: Response(content_type=bad),
    "content_type": lambda bad: setattr(Response(), "content_type", bad),
    "file content_type": lambda bad: Response.file("x", content_type=bad),
    "file headers": lambda bad: Response.file("x", headers={"A": bad}),
    "redirect": lambda bad: Response.redirect("/" + bad),
    "cookie name": lambda bad: Response().set_cookie(bad, "b"),
    "cookie value": lambda bad: Response().set_cookie("a", bad),
    "cookie path": lambda bad: Response().set_cookie("a", "b", path="/" + bad),
    "cookie domain": lambda bad: Response().set_cookie("a", "b", domain=bad),
    "cookie same_site": lambda bad: Response().set_cookie("a", "b", same_site=bad),
}


@pytest.mark.parametrize("setter", SETTERS)
def test_o1_every_setter_refuses_every_control(setter):
    for bad in CONTROLS:
        for text in (bad, "a" + bad, bad + "a", f"a{bad}b"):
            with pytest.raises(ValueError, match=r"."):
                SETTERS[setter](text)


@pytest.mark.parametrize("setter", [name for name in SETTERS if name != "redirect"])
def test_o1_every_setter_refuses_what_latin_1_cannot_express(setter):
    for bad in BEYOND_LATIN_1:
        with pytest.raises(ValueError, match=r"."):
            SETTERS[setter]("a" + bad)


@pytest.mark.parametrize("setter", [name for name in SETTERS if name != "redirect"])
@pytest.mark.parametrize("bad", [b"a", 1, 1.5, ["a"]])
def test_every_setter_refuses_what_is_no_text(setter, bad):
    with pytest.raises((TypeError, ValueError)):
        SETTERS[setter](bad)


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "ä", "(", '"', "a\t", "X/Y"])
def test_o1_header_name_that_is_no_token_raises(name):
    with pytest.raises(ValueError, match="token"):
        Response().headers[name] = "b"


@pytest.mark.parametrize("name", ["Transfer-Encoding", "transfer-encoding", "Trailer"])
def test_framing_is_not_the_callers_to_set(name):
    with pytest.raises(ValueError, match="codec"):
        Response().headers[name] = "chunked"


@pytest.mark.parametrize("value", ["", "-1", "+1", "1_0", " 1", "٣", "1" * 20])
def test_content_length_that_is_no_number_raises(value):
    with pytest.raises(ValueError, match=r"."):
        Response().headers["Content-Length"] = value


def test_refused_setter_changes_nothing():
    response = Response(headers={"A": "b"})
    with pytest.raises(ValueError, match=r"."):
        response.headers["A"] = "c\r\nX: y"
    assert dict(response.headers) == {"a": "b"}


@pytest.mark.parametrize(
    ("body", "encoded", "content_type"),
    [
        (b"", b"", None),
        ("", b"", "text/html; charset=utf-8"),
        ("ä", "ä".encode(), "text/html; charset=utf-8"),
        (b"a", b"a", "application/octet-stream"),
        (bytearray(b"a"), b"a", "application/octet-stream"),
        (memoryview(b"a"), b"a", "application/octet-stream"),
        ({"a": [1, None]}, b'{"a":[1,null]}', "application/json"),
        ([], b"[]", "application/json"),
    ],
)
def test_type_of_the_body_is_its_default_content_type(body, encoded, content_type):
    response = Response(body)
    assert response.body == encoded
    assert response.content_type == content_type


@pytest.mark.parametrize("body", [None, 1, True, object(), ("a",), {"a": object()}])
def test_body_of_another_type_raises(body):
    with pytest.raises(TypeError):
        Response(body)


@pytest.mark.parametrize("make", [Response, Response.json])
def test_body_that_cannot_be_encoded_raises(make):
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(LocalProtocolError):
        make(endless)
    with pytest.raises(LocalProtocolError):
        make(["\ud800"])


def test_mutable_body_is_copied():
    data = bytearray(b"a")
    response = Response(data)
    data[0] = 0x62
    assert response.body == b"a"


def test_content_type_can_be_named_in_three_places():
    assert Response("a", content_type="text/plain").content_type == "text/plain"
    assert Response("a", headers={"content-type": "text/plain"}).content_type == "text/plain"
    response = Response("a")
    response.content_type = "text/plain"
    assert response.headers["Content-Type"] == "text/plain"


def test_positions_are_body_status_headers():
    response = Response("a", 404, {"X": "y"})
    assert (response.body, response.status, response.headers["x"]) == (b"a", 404, "y")
    assert repr(response) == "<Response 404 text/html; charset=utf-8>"


@pytest.mark.parametrize("status", [0, 99, 600, -200, 1000])
def test_status_out_of_range_raises(status):
    with pytest.raises(ValueError, match="status"):
        Response(status=status)


@pytest.mark.parametrize("status", ["200", 200.0, True, None, "200 OK\r\nX: y"])
def test_o1_status_that_is_no_number_raises(status):
    with pytest.raises(TypeError, match="status"):
        Response(status=status)


def test_status_of_the_standard_library_is_taken():
    assert Response(status=HTTPStatus.NOT_FOUND).status == 404


def test_phrases_are_those_of_the_registry():
    assert reason_phrase(200) == "OK"
    assert reason_phrase(413) == "Content Too Large"
    assert reason_phrase(299) == ""


def test_headers_are_replaced_added_and_removed_in_any_case():
    headers = Response(headers={"X-A": "1"}).headers
    headers["x-a"] = "2"
    assert headers.raw == [(b"x-a", b"2")]
    headers.add("X-A", "3")
    assert headers["X-a"] == "2, 3"
    del headers["X-A"]
    assert "x-a" not in headers
    assert headers.pop("x-a", None) is None
    with pytest.raises(KeyError):
        del headers["x-a"]
    with pytest.raises(KeyError):
        del headers["\u212a"]


def test_each_cookie_is_a_field_of_its_own():
    response = Response()
    response.set_cookie("a", "b")
    response.set_cookie("c", "d", max_age=0, http_only=False)
    assert response.headers.get_all("Set-Cookie") == [
        "a=b; Path=/; HttpOnly; SameSite=Lax",
        "c=d; Max-Age=0; Path=/; SameSite=Lax",
    ]


def test_json_takes_any_value():
    response = Response.json("a", 201)
    assert (response.body, response.status) == (b'"a"', 201)
    assert response.content_type == "application/json"
    assert Response.json(None).body == b"null"


def test_redirect_to_a_path():
    response = Response.redirect("/a b".replace(" ", "%20") + "?c=d&e#f", 303)
    assert response.status == 303
    assert response.headers["Location"] == "/a%20b?c=d&e#f"
    assert Response.redirect("/ä").headers["Location"] == "/%C3%A4"


@pytest.mark.parametrize(
    "location",
    ["", "a", "//evil.example/", "/\\evil.example", "\\\\evil.example", "http://evil.example/",
     "https://good.example@evil.example/", "javascript:alert(1)", "http:/x", "http://", "/a b",
     "https://good.example.evil.example/", "ftp://good.example/", "https://[::1/", "/\ud800"],
)  # fmt: skip
def test_o6_redirect_never_leads_away(location):
    with pytest.raises(ValueError, match=r"."):
        Response.redirect(location, allowed_hosts=["good.example"])


def test_o6_redirect_to_an_allowed_host():
    response = Response.redirect("https://good.example:8443/a?b", allowed_hosts=["good.example"])
    assert response.headers["Location"] == "https://good.example:8443/a?b"
    assert response.status == 302


@pytest.mark.parametrize("status", [200, 300, 304, 309])
def test_redirect_has_a_status_of_redirects(status):
    with pytest.raises(ValueError, match="redirect"):
        Response.redirect("/", status)


def test_file_records_where_it_is():
    response = Response.file(Path("/a/b"), content_type="text/plain", headers={"X": "y"})
    assert response.file_path == Path("/a/b")
    assert response.content_type == "text/plain"
    assert response.headers["X"] == "y"
    assert response.body == b""
    assert Response.file("/a").content_type == "application/octet-stream"
    assert Response.file("/a", headers={"content-type": "a/b"}).content_type == "a/b"
    assert Response().file_path is None
