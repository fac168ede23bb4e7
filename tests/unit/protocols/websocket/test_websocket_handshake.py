"""The server's side of the WebSocket handshake: W-1 and W-2 as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from longline.limits import Limits
from longline.protocols import codec_factory
from longline.protocols.websocket.handshake import (
    REFUSAL_HEADERS,
    check_handshake,
    check_origin,
    check_origins,
    parse_extensions,
    parse_subprotocols,
    switching_protocols,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

GOOD = (
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


class Headers:
    def __init__(self, fields):
        self.fields = fields

    def get_all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Request:
    def __init__(self, fields, method="GET", version="1.1"):
        self.headers = Headers(fields)
        self.method = method
        self.version = version


def but(**changed):
    """The good request with some fields replaced, repeated (list) or left out (None)."""
    fields = dict(GOOD) | {name.replace("_", "-"): value for name, value in changed.items()}
    return Request(
        [
            (name, one)
            for name, value in fields.items()
            if value is not None
            for one in (value if isinstance(value, list) else [value])
        ]
    )


@pytest.mark.parametrize(
    "request_",
    [
        but(),
        but(Upgrade="WebSocket"),
        but(Upgrade="foo, websocket"),
        but(Connection="keep-alive, Upgrade"),
        but(Connection=["keep-alive", " \tUPGRADE "]),
        but(Sec_WebSocket_Protocol="chat"),
        but(Sec_WebSocket_Protocol="chat, super.chat,v1"),
        but(Sec_WebSocket_Protocol=["chat", "superchat"]),
        but(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
        but(Sec_WebSocket_Extensions='x;a="10", permessage-deflate;b=1 ; c'),
        but(Origin="https://example.com"),
        but(Origin="null"),
    ],
)
def test_a_good_request_gives_its_key_w_1(request_):
    assert check_handshake(request_) == KEY


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (Request(GOOD, method="POST"), 405),
        (Request(GOOD, method="get"), 405),
        (Request(GOOD, method="HEAD"), 405),
        (Request(GOOD, version="1.0"), 400),
        (but(Upgrade=None), 426),
        (but(Upgrade="h2c"), 400),
        (but(Upgrade="websockets"), 400),
        (but(Upgrade="\u212aebsocket"), 400),
        (but(Connection=None), 400),
        (but(Connection="keep-alive"), 400),
        (but(Connection="upgraded"), 400),
        (but(Sec_WebSocket_Version=None), 426),
        (but(Sec_WebSocket_Version="8"), 426),
        (but(Sec_WebSocket_Version="14"), 426),
        (but(Sec_WebSocket_Version="013"), 426),
        (but(Sec_WebSocket_Version="13, 8"), 426),
        (but(Sec_WebSocket_Version="\u0661\u0663"), 426),
        (but(Sec_WebSocket_Version=["13", "13"]), 400),
        (but(Sec_WebSocket_Key=None), 400),
        (but(Sec_WebSocket_Key=""), 400),
        (but(Sec_WebSocket_Key=[KEY, KEY]), 400),
        (but(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j"), 400),
        (but(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ="), 400),
        (but(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZSE="), 400),
        (but(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==="), 400),
        (but(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZ-=="), 400),
        (but(Sec_WebSocket_Key=KEY + "\n"), 400),
        (but(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZ\xe9=="), 400),
        (but(Sec_WebSocket_Key=f"{KEY}, {KEY}"), 400),
        (but(Sec_WebSocket_Protocol=""), 400),
        (but(Sec_WebSocket_Protocol="chat,"), 400),
        (but(Sec_WebSocket_Protocol="a b"), 400),
        (but(Sec_WebSocket_Protocol="ch\xe4t"), 400),
        (but(Sec_WebSocket_Protocol="chat, chat"), 400),
        (but(Sec_WebSocket_Protocol=["chat", "chat"]), 400),
        (but(Sec_WebSocket_Extensions=""), 400),
        (but(Sec_WebSocket_Extensions="a,"), 400),
        (but(Sec_WebSocket_Extensions="a;"), 400),
        (but(Sec_WebSocket_Extensions="a;=1"), 400),
        (but(Sec_WebSocket_Extensions="a;b="), 400),
        (but(Sec_WebSocket_Extensions='a;b="'), 400),
        (but(Sec_WebSocket_Extensions='a;b="c'), 400),
        (but(Sec_WebSocket_Extensions='a;b=""'), 400),
        (but(Sec_WebSocket_Extensions='a;b=" c"'), 400),
        (but(Sec_WebSocket_Extensions='a;b="c,d"'), 400),
        (but(Sec_WebSocket_Extensions="a;b=c=d"), 400),
        (but(Sec_WebSocket_Extensions="\xe4"), 400),
        (but(Origin=["https://a.example", "https://b.example"]), 400),
    ],
)
def test_a_bad_request_is_refused_w_1(request_, status):
    with pytest.raises(RemoteProtocolError) as caught:
        check_handshake(request_)
    assert caught.value.status == status


def test_refusals_say_what_would_do():
    assert ("Sec-WebSocket-Version", "13") in REFUSAL_HEADERS[426]
    assert ("Upgrade", "websocket") in REFUSAL_HEADERS[426]
    assert ("Allow", "GET") in REFUSAL_HEADERS[405]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [name for name, _ in GOOD] + ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"]
            ),
            st.text(alphabet=st.characters(max_codepoint=255)),
        )
    )
)
def test_any_header_is_accepted_or_refused_f_1(fields):
    status = 101
    try:
        check_handshake(Request([*GOOD, *fields]))
    except RemoteProtocolError as error:
        status = error.status
    assert status in (101, 400, 426)


@pytest.mark.parametrize("scheme", ["http", "websocket"])
def test_a_request_of_ours_will_do(scheme):
    codec = codec_factory(scheme)(Limits())
    fields = "".join(f"{name}: {value}\r\n" for name, value in GOOD)
    events = codec.feed(f"GET /chat HTTP/1.1\r\n{fields}\r\n".encode())
    assert check_handshake(events[0]) == KEY


def test_subprotocols_come_in_the_order_of_the_client():
    assert parse_subprotocols(["b, a", "C"]) == ("b", "a", "C")
    assert parse_subprotocols([]) == ()


def test_extensions_come_with_their_parameters():
    assert parse_extensions(['a; b=1; c, d;e="f"', "g"]) == (
        ("a", (("b", "1"), ("c", None))),
        ("d", (("e", "f"),)),
        ("g", ()),
    )


# W-2: origins

LIST = ("https://good.example", "http://other.example:8080")


@pytest.mark.parametrize(
    ("origin", "host", "secure", "allowed", "expected"),
    [
        # No list: scheme, host and port of this very host.
        (None, "good.example", True, None, True),
        ("https://good.example", "good.example", True, None, True),
        ("https://good.example", "good.example:443", True, None, True),
        ("https://good.example:443", "good.example", True, None, True),
        ("https://good.example:8443", "good.example:8443", True, None, True),
        ("HTTPS://GOOD.Example", "good.example", True, None, True),
        ("https://good.example", "GOOD.EXAMPLE", True, None, True),
        ("http://good.example", "good.example", False, None, True),
        ("http://good.example:80", "good.example", False, None, True),
        ("http://[::1]:8080", "[::1]:8080", False, None, True),
        ("http://127.0.0.1:2346", "127.0.0.1:2346", False, None, True),
        ("http://good.example", "good.example", True, None, False),
        ("https://good.example", "good.example", False, None, False),
        ("https://good.example:8443", "good.example", True, None, False),
        ("https://good.example", "good.example:8443", True, None, False),
        ("http://good.example:443", "good.example:443", True, None, False),
        ("https://good.example.evil.test", "good.example", True, None, False),
        ("https://evilgood.example", "good.example", True, None, False),
        ("https://sub.good.example", "good.example", True, None, False),
        ("https://good.example@evil.test", "good.example", True, None, False),
        ("https://evil.test/good.example", "good.example", True, None, False),
        ("https://good.example/", "good.example", True, None, False),
        ("https://good.example#", "good.example", True, None, False),
        ("https://good.example https://evil.test", "good.example", True, None, False),
        ("https://good.example:", "good.example", True, None, False),
        ("https://good.example:99999", "good.example:99999", True, None, False),
        ("https://good.example:443\n", "good.example", True, None, False),
        ("https://good.example.", "good.example", True, None, False),
        ("https://g\xf6\xf6d.example", "g\xf6\xf6d.example", True, None, False),
        ("file://", "good.example", True, None, False),
        ("null", "good.example", True, None, False),
        ("null", "null", True, None, False),
        ("", "good.example", True, None, False),
        ("", "", True, None, False),
        ("https://", "", True, None, False),
        ("good.example", "good.example", True, None, False),
        ("wss://good.example", "good.example", True, None, False),
        ("https://good.example", None, True, None, False),
        # A list: what it says and nothing else, wherever the client thinks it is.
        (None, "good.example", True, LIST, True),
        ("https://good.example", "else.example", False, LIST, True),
        ("https://GOOD.example:443", "else.example", False, LIST, True),
        ("http://other.example:8080", None, False, LIST, True),
        ("http://other.example", "else.example", False, LIST, False),
        ("https://other.example:8080", "else.example", False, LIST, False),
        ("https://else.example", "else.example", True, LIST, False),
        ("https://good.example.evil.test", "good.example", True, LIST, False),
        ("null", "good.example", True, LIST, False),
        ("null", "good.example", True, ("null",), True),
        ("https://good.example", "good.example", True, (), False),
        ("https://any.example", "good.example", True, ("*",), True),
        ("null", "good.example", True, ("*",), True),
        ("https://any.example", "good.example", True, ("https://*.example",), False),
    ],
)
def test_origins_w_2(origin, host, secure, allowed, expected):
    assert check_origin(origin, host, secure, allowed) is expected


@given(st.text() | st.none(), st.text() | st.none(), st.booleans())
def test_any_origin_is_judged_f_1(origin, host, secure):
    assert check_origin(origin, host, secure, LIST) in (True, False)
    assert check_origin(origin, host, secure, None) in (True, False)


def test_a_list_of_origins_is_proved():
    assert check_origins(["*", "null", "http://[::1]:80"]) == ("*", "null", "http://[::1]:80")
    assert check_origins([]) == ()


@pytest.mark.parametrize(
    "entry",
    ["good.example", "https://good.example/", "https://*.example", "wss://good.example", ""],
)
def test_an_origin_that_could_never_match_is_refused(entry):
    with pytest.raises(ConfigurationError):
        check_origins([entry])


def test_a_lone_string_is_no_list_of_origins():
    with pytest.raises(ConfigurationError):
        check_origins("https://good.example")


# The answer


def test_the_answer_is_that_of_rfc_6455():
    assert switching_protocols(KEY) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


def test_the_answer_takes_a_subprotocol_and_further_fields():
    head = switching_protocols(KEY, "chat", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=\xe9")])
    assert head.endswith(
        b"Sec-WebSocket-Protocol: chat\r\nSet-Cookie: a=1\r\nSet-Cookie: b=\xe9\r\n\r\n"
    )


@pytest.mark.parametrize(
    "field",
    [
        ("X-A", "a\r\nX-B: b"),
        ("X-A", "a\n"),
        ("X-A", "a\r"),
        ("X-A", "a\0"),
        ("X-A", "\x7f"),
        ("X-A", "\u20ac"),
        ("X A", "a"),
        ("X-A:", "a"),
        ("X-A\r\nX-B", "a"),
        ("X-\xc4", "a"),
        ("", "a"),
        ("Upgrade", "x"),
        ("connection", "close"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Sec-WebSocket-Accept", "x"),
        ("Sec-WebSocket-Extensions", "x"),
        ("Sec-WebSocket-Protocol", "x"),
    ],
)
def test_a_field_that_would_break_the_answer_is_refused(field):
    with pytest.raises(LocalProtocolError):
        switching_protocols(KEY, headers=[field])


@pytest.mark.parametrize("subprotocol", ["", "a b", "a,b", "a\r\n", "\xe4"])
def test_a_subprotocol_that_is_no_token_is_refused(subprotocol):
    with pytest.raises(LocalProtocolError):
        switching_protocols(KEY, subprotocol)
