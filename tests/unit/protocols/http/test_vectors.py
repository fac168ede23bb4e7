"""The vector table of hardening.md section 2 (H-1 to H-16, H-23, H-24, L-1, L-3)."""

from __future__ import annotations

import pytest

from longline.errors import IncompleteError, RemoteProtocolError
from longline.limits import Limits
from longline.protocols.http import HttpServer, Phase


def test_valid_vector_is_the_same_at_every_split(valid_vector, serve, splits):
    vector = valid_vector
    for pieces in splits(vector.data):
        outcome = serve(pieces, limits=vector.limits)
        assert outcome.error == "", pieces
        assert len(outcome.requests) == len(vector.requests), pieces
        for request, expected in zip(outcome.requests, vector.requests, strict=True):
            expected = {"trailers": [], **expected}
            assert {key: request[key] for key in expected} == expected, pieces


def test_invalid_vector_is_refused_alike_at_every_split(invalid_vector, serve, splits):
    vector = invalid_vector
    expected = serve([vector.data], limits=vector.limits, eof=vector.eof)
    for pieces in splits(vector.data):
        outcome = serve(pieces, limits=vector.limits, eof=vector.eof)
        assert outcome == expected, pieces
        assert outcome.status == vector.status, (pieces, outcome.error)
        assert len(outcome.requests) == vector.requests, pieces


def test_refusal_is_a_complete_answer_without_input(invalid_vector, read_answer):
    """H-22: built by the server, closes, and says nothing that came from the peer."""
    vector = invalid_vector
    codec = HttpServer(Limits(**vector.limits))
    with pytest.raises(RemoteProtocolError) as caught:  # noqa: PT012 - several steps lead there
        requests = codec.feed(vector.data)
        while requests:
            codec.encode("")
            requests = codec.feed(b"")
        codec.eof()
    assert isinstance(caught.value, IncompleteError) == vector.eof
    assert codec.phase is Phase.DONE
    answer = read_answer(codec.fail(caught.value))
    assert answer.status == vector.status
    assert answer.get("Connection") == ["close"]
    assert answer.get("Content-Length") == [str(len(answer.body))]
    assert answer.body == f"{vector.status} {answer.reason}\n".encode()
    assert codec.fail(caught.value) == b""


@pytest.mark.parametrize("gap", [1, 2, 3, 7])
def test_valid_vector_in_small_pieces(valid_vector, serve, gap):
    vector = valid_vector
    pieces = [vector.data[i : i + gap] for i in range(0, len(vector.data), gap)]
    assert serve(pieces, limits=vector.limits) == serve([vector.data], limits=vector.limits)
