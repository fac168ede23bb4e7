"""Close codes and the payload of close frames."""

from __future__ import annotations

import dataclasses

import pytest

from longline.errors import RemoteProtocolError
from longline.protocols.websocket.frame import (
    CloseCode,
    Closed,
    Ping,
    Pong,
    is_wire_code,
    pack_close,
    unpack_close,
)

VALID = [
    1000,
    1001,
    1002,
    1003,
    1007,
    1008,
    1009,
    1010,
    1011,
    1012,
    1013,
    1014,
    3000,
    3999,
    4000,
    4999,
]
INVALID = [-1, 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535, 65536]


@pytest.mark.parametrize("code", VALID)
def test_a_valid_code_goes_both_ways_w_10(code):
    assert is_wire_code(code)
    assert unpack_close(pack_close(code, "why")) == Closed(code, "why")


@pytest.mark.parametrize("code", INVALID)
def test_a_code_that_must_not_be_sent_is_refused_w_10(code):
    assert not is_wire_code(code)
    with pytest.raises(ValueError, match="cannot carry"):
        pack_close(code)
    if 0 <= code < 65536:
        with pytest.raises(RemoteProtocolError) as caught:
            unpack_close(code.to_bytes(2, "big"))
        assert caught.value.close_code == 1002


def test_a_reason_has_at_most_123_bytes():
    assert len(pack_close(1000, "é" * 61 + "x")) == 125
    with pytest.raises(ValueError, match="123"):
        pack_close(1000, "é" * 62)


def test_a_reason_with_lone_surrogates_is_refused():
    with pytest.raises(ValueError, match="surrogates"):
        pack_close(1000, "\ud800")


def test_no_payload_is_no_code():
    assert unpack_close(b"") == Closed(1005, "")


def test_half_a_code_is_refused():
    with pytest.raises(RemoteProtocolError) as caught:
        unpack_close(b"\x03")
    assert caught.value.close_code == 1002


def test_a_reason_that_is_not_utf8_is_refused():
    with pytest.raises(RemoteProtocolError) as caught:
        unpack_close(b"\x03\xe8\xff")
    assert caught.value.close_code == 1007


@pytest.mark.parametrize(
    ("event", "field"),
    [(Ping(b"x"), "payload"), (Pong(b"x"), "payload"), (Closed(1000, "x"), "code")],
)
def test_events_are_values(event, field):
    assert event == dataclasses.replace(event)
    assert hash(event) == hash(dataclasses.replace(event))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, field, None)


def test_codes_compare_with_plain_numbers():
    assert CloseCode.SERVICE_RESTART == 1012
    assert Closed(CloseCode.NO_STATUS) == Closed(1005)
