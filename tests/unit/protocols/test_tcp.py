"""tcp: bytes as they come."""

from __future__ import annotations

import pytest

from longline.errors import LocalProtocolError
from longline.limits import Limits
from longline.protocols import codec_factory
from longline.protocols.tcp import Tcp


def test_the_scheme_is_registered():
    assert isinstance(codec_factory("tcp")(Limits()), Tcp)


def test_every_chunk_is_a_message_and_no_bytes_are_none():
    codec = Tcp(Limits())
    assert codec.feed(b"one\n") == [b"one\n"]
    assert codec.feed(b"") == []
    assert codec.feed(memoryview(b"two")) == [b"two"]
    assert codec.buffered == 0
    assert codec.eof() == []


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_messages_do_not_alias_the_buffer_that_was_fed(kind):
    buffer = bytearray(b"one")
    (message,) = Tcp(Limits()).feed(kind(buffer))
    buffer[:] = b"two"
    assert type(message) is bytes
    assert message == b"one"


def test_a_dropped_chunk_would_corrupt_the_stream():
    assert Tcp.gapless


@pytest.mark.parametrize(
    "message", [b"\xc3\xa9", bytearray(b"\xc3\xa9"), memoryview(b"\xc3\xa9"), "é"]
)
def test_bytes_and_text_are_encoded(message):
    encoded = Tcp(Limits()).encode(message)
    assert type(encoded) is bytes
    assert encoded == b"\xc3\xa9"


@pytest.mark.parametrize("message", [None, 5, True, ["a"], {"a": 1}])
def test_other_types_are_refused(message):
    with pytest.raises(TypeError):
        Tcp(Limits()).encode(message)


def test_lone_surrogates_are_refused():
    with pytest.raises(LocalProtocolError):
        Tcp(Limits()).encode("\ud800")
