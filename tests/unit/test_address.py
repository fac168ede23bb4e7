from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.address import MAX_UNIX_PATH_BYTES, Address, is_scheme, parse_address
from longline.errors import AddressError, LonglineError

ACCEPTED = [
    ("tcp://127.0.0.1:1234", Address("tcp", host="127.0.0.1", port=1234)),
    ("text://0.0.0.0:0", Address("text", host="0.0.0.0", port=0)),
    ("http://localhost:65535", Address("http", host="localhost", port=65535)),
    ("websocket://Example.COM:80", Address("websocket", host="example.com", port=80)),
    ("x-1-y://a_b.c-d.:1", Address("x-1-y", host="a_b.c-d.", port=1)),
    ("http://xn--bcher-kva.example:80", Address("http", host="xn--bcher-kva.example", port=80)),
    ("http://1.2.3.example:80", Address("http", host="1.2.3.example", port=80)),
    ("tcp://[::]:80", Address("tcp", host="::", port=80)),
    ("tcp://[0:0:0:0:0:0:0:1]:80", Address("tcp", host="::1", port=80)),
    ("tcp://[FE80::1%eth0]:80", Address("tcp", host="fe80::1%eth0", port=80)),
    ("ws://h:1", Address("websocket", host="h", port=1)),
    ("wss://h:1", Address("websocket", tls=True, host="h", port=1)),
    ("https://h:1", Address("http", tls=True, host="h", port=1)),
    ("http+tls://h:1", Address("http", tls=True, host="h", port=1)),
    ("tls://h:1", Address("tcp", tls=True, host="h", port=1)),
    ("ssl://h:1", Address("tcp", tls=True, host="h", port=1)),
    ("text+tls://h:1", Address("text", tls=True, host="h", port=1)),
    ("udp://h:1", Address("udp", "udp", host="h", port=1)),
    ("text+udp://[::1]:1", Address("text", "udp", host="::1", port=1)),
    ("unix:///run/a.sock", Address("tcp", "unix", path="/run/a.sock")),
    ("tcp+unix:///run/a.sock", Address("tcp", "unix", path="/run/a.sock")),
    ("http+unix:///run/a b:c%20[.sock", Address("http", "unix", path="/run/a b:c%20[.sock")),
    ("ws+unix:///tmp/é", Address("websocket", "unix", path="/tmp/é")),
]


@pytest.mark.parametrize(("text", "expected"), ACCEPTED, ids=[text for text, _ in ACCEPTED])
def test_an_address_means_what_the_grammar_says(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", [text for text, _ in ACCEPTED])
def test_the_canonical_form_means_the_same_and_is_stable(text: str) -> None:
    address = parse_address(text)
    assert parse_address(str(address)) == address
    assert str(parse_address(str(address))) == str(address)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ws://H:1", "websocket://h:1"),
        ("websocket+tls://h:1", "wss://h:1"),
        ("http+tls://h:1", "https://h:1"),
        ("ssl://h:1", "tls://h:1"),
        ("text+tls://h:1", "text+tls://h:1"),
        ("udp://h:1", "udp://h:1"),
        ("text+udp://h:1", "text+udp://h:1"),
        ("tcp+unix:///a", "unix:///a"),
        ("http+unix:///a", "http+unix:///a"),
        ("tcp://[0::0]:0", "tcp://[::]:0"),
    ],
)
def test_str_is_the_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_address(text)) == canonical


REFUSED = {
    "no-scheme": ("0.0.0.0:80", "scheme is missing"),
    "empty": ("", "scheme is missing"),
    "empty-scheme": ("://h:1", "scheme '' must be"),
    "upper-case-scheme": ("HTTP://h:1", "scheme 'HTTP' must be lower-case"),
    "digit-first": ("2tcp://h:1", "scheme '2tcp'"),
    "hyphen-first": ("-tcp://h:1", "scheme '-tcp'"),
    "dot-in-scheme": ("a.b://h:1", "scheme 'a.b'"),
    "non-ascii-scheme": ("téxt://h:1", "scheme 'téxt'"),
    "arabic-digit-in-scheme": ("text٣://h:1", "scheme"),
    "space-before-scheme": (" tcp://h:1", "scheme ' tcp'"),
    "unknown-modifier": ("http+ssl://h:1", r"'\+ssl' is unknown"),
    "empty-modifier": ("http+://h:1", r"'\+' is unknown"),
    "tls-twice": ("wss+tls://h:1", "'tls' twice"),
    "tls-on-unix": ("https+unix:///a", "tls and unix together"),
    "tls-on-udp": ("tls+udp://h:1", "tls and udp together"),
    "unix-and-udp": ("text+udp+unix:///a", "unix and udp together"),
    "tcp-over-udp": ("tcp+udp://h:1", "udp://"),
    "no-port": ("http://h", "port is missing"),
    "no-port-v6": ("http://[::1]", "port is missing"),
    "empty-port": ("http://h:", "port is missing"),
    "nothing": ("http://", "port is missing|host is empty"),
    "port-too-high": ("http://h:65536", "'65536'"),
    "port-of-5000-digits": ("http://h:" + "9" * 5000, "plain number from 0 to 65535"),
    "port-negative": ("http://h:-1", "'-1'"),
    "port-plus": ("http://h:+1", "'\\+1'"),
    "port-leading-zero": ("http://h:080", "'080'"),
    "port-space": ("http://h: 80", "' 80'"),
    "port-underscore": ("http://h:8_0", "'8_0'"),
    "port-full-width-H-20": ("http://h:\uff18\uff10", "plain number"),
    "port-arabic-H-20": ("http://h:٣", "plain number"),
    "port-superscript-H-20": ("http://h:²", "plain number"),
    "port-name": ("http://h:http", "'http'"),
    "empty-host": ("http://:80", "0.0.0.0 for all addresses"),
    "star-host": ("http://*:80", "0.0.0.0 for all addresses"),
    "empty-v6": ("http://[]:80", r"\[::\] for all addresses"),
    "path": ("http://h:80/chat", "takes no path"),
    "slash": ("http://h:80/", "takes no path"),
    "query": ("http://h:80?a=b", "takes no query"),
    "fragment": ("http://h:80#a", "takes no query or fragment"),
    "user": ("http://me@h:80", "takes no user"),
    "bare-v6": ("http://::1:80", r"brackets: \[::1\]:80"),
    "open-bracket": ("http://[::1:80", "never closed"),
    "close-bracket": ("http://::1]:80", "not balanced"),
    "bracket-inside": ("http://a[::1]:80", "not balanced"),
    "two-brackets": ("http://[[::1]]:80", "no IPv6|follows the bracket"),
    "text-after-bracket": ("http://[::1]x:80", "'x:80' follows the bracket"),
    "name-in-brackets": ("http://[localhost]:80", "no IPv6 address"),
    "v4-in-brackets": ("http://[127.0.0.1]:80", "no IPv6 address"),
    "long-v6": ("http://[1:2:3:4:5:6:7:8:9]:80", "no IPv6 address"),
    "empty-zone": ("http://[fe80::1%]:80", "no IPv6 address"),
    "space-in-zone": ("http://[fe80::1%a b]:80", "no IPv6 address"),
    "non-ascii-zone": ("http://[fe80::1%é]:80", "no IPv6 address"),
    "v4-too-high": ("http://256.0.0.1:80", "no IPv4 address"),
    "v4-short": ("http://127.1:80", "no IPv4 address"),
    "v4-octal": ("http://010.0.0.1:80", "no IPv4 address"),
    "v4-hex": ("http://0x7f000001:80", "no IPv4 address"),
    "v4-as-number": ("http://2130706433:80", "no IPv4 address"),
    "non-ascii-host": ("http://bücher.example:80", "punycode"),
    "kelvin-sign-H-20": ("http://\u212aelvin:80", "punycode"),
    "space-in-host": ("http://a b:80", "neither a name nor"),
    "empty-label": ("http://a..b:80", "neither a name nor"),
    "long-label": ("http://" + "a" * 64 + ":80", "neither a name nor"),
    "long-name": ("http://" + "a." * 127 + "b:80", "at most 253"),
    "hyphen-label": ("http://-a.b:80", "hyphen"),
    "control-in-host": ("http://a\nb:80", "control character"),
    "nul-in-host": ("http://a\0b:80", "control character"),
    "newline-at-end": ("http://a:80\n", "control character"),
    "relative-unix": ("unix://run/a.sock", "relative"),
    "empty-unix": ("unix://", "relative"),
    "directory-unix": ("unix:///run/", "directory"),
    "root-unix": ("unix:///", "directory"),
    "abstract-at": ("unix://@name", "credentials"),
    "abstract-nul": ("unix://\0name", "credentials"),
    "abstract-slash-at": ("unix:///@name", "credentials"),
    "query-unix": ("unix:///a?mode=600", "takes no query"),
    "nul-in-unix": ("unix:///a\0b", "control character"),
    "control-in-unix": ("unix:///a\x7fb", "control character"),
    "surrogate-in-unix": ("unix:///\ud800", "UTF-8"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_an_address_outside_the_grammar_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason) as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)


def test_an_address_error_is_a_value_error_of_longline() -> None:
    assert issubclass(AddressError, ValueError)
    assert issubclass(AddressError, LonglineError)


@pytest.mark.parametrize("text", ["http://me:secret@h:80", "HTTP://me:secret@h", "me:secret@h"])
def test_a_password_in_an_address_is_not_repeated(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("character", ["a", "é"], ids=["ascii", "two-byte characters"])
def test_the_longest_unix_path_is_counted_in_bytes(character: str) -> None:
    size = len(character.encode())
    count, rest = divmod(MAX_UNIX_PATH_BYTES - 1, size)
    path = "/" + "b" * rest + character * count
    assert parse_address(f"unix://{path}").path == path
    with pytest.raises(AddressError) as caught:
        parse_address(f"unix://{path}b")
    assert f"{MAX_UNIX_PATH_BYTES + 1} bytes" in str(caught.value)
    assert f"allows {MAX_UNIX_PATH_BYTES}" in str(caught.value)


@pytest.mark.parametrize("value", [None, b"tcp://h:1", 80, ("h", 80)])
def test_an_address_that_is_no_str_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="an address is a str"):
        parse_address(value)  # type: ignore[arg-type]  # the misuse under test


@pytest.mark.parametrize("name", ["tcp", "udp", "http", "a", "my-lines-2", "a-"])
def test_a_protocol_may_have_a_well_formed_name(name: str) -> None:
    assert is_scheme(name)
    assert parse_address(f"{name}://h:1").scheme == name


@pytest.mark.parametrize("name", ["", "A", "2a", "-", "a.b", "a+tls", "wss", "ws", "https", "unix"])
def test_a_protocol_has_no_name_that_an_address_cannot_reach(name: str) -> None:
    assert not is_scheme(name)


def test_is_ipv6_looks_at_the_host() -> None:
    assert parse_address("tcp://[::1]:1").is_ipv6
    assert not parse_address("tcp://127.0.0.1:1").is_ipv6
    assert not parse_address("unix:///a:b").is_ipv6


def test_with_port_replaces_the_port_alone() -> None:
    assert str(parse_address("wss://[::1]:0").with_port(4433)) == "wss://[::1]:4433"


@pytest.mark.parametrize("port", [-1, 65536])
def test_with_port_refuses_what_is_no_port(port: int) -> None:
    with pytest.raises(ValueError, match="0 to 65535"):
        parse_address("tcp://h:0").with_port(port)


def test_a_unix_address_has_no_port_to_replace() -> None:
    with pytest.raises(ValueError, match="has no port"):
        parse_address("unix:///a").with_port(1)


def test_an_address_is_a_value() -> None:
    one, other = parse_address("ws://h:1"), parse_address("websocket://H:1")
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(AttributeError):
        one.port = 2  # type: ignore[misc]  # the misuse under test


PIECES = ["http", "unix", "+tls", "+udp", "+unix", "://", "//", "/", ":", "[", "]", "@", "%", "?"]
NOISE = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=12).map("".join)


@given(text=NOISE | st.text().map("http://".__add__) | st.text().map("unix:///".__add__))
def test_any_text_is_an_address_or_an_address_error_F_1(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address


LABELS = st.text("abcXYZ019_-", min_size=1, max_size=9).filter(
    lambda label: "-" not in (label[0], label[-1])
)
NAMES = st.lists(LABELS, max_size=3).map(lambda labels: ".".join([*labels, "end"]))
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda host: f"[{host}]"), NAMES
)


@given(
    scheme=st.sampled_from(["tcp", "udp", "ws", "wss", "https", "my-own+tls", "text+udp"]),
    host=HOSTS,
    port=st.integers(0, 65535),
)
def test_what_is_composed_well_is_parsed_back_F_2(scheme: str, host: str, port: int) -> None:
    address = parse_address(f"{scheme}://{host}:{port}")
    assert address.port == port
    assert address.is_ipv6 == host.startswith("[")
    assert parse_address(str(address)) == address
