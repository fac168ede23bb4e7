"""Properties of any input whatever (F-1): one kind of error, one verdict for every split."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longline.errors import RemoteProtocolError

LIMITS = {"max_request_line": 60, "max_head_bytes": 150, "max_headers": 5, "max_body_bytes": 40}

WORDS = st.sampled_from(
    [
        *(b"GET POST HEAD OPTIONS CONNECT / * /a?b HTTP/1.1 HTTP/1.0 HTTP/2.0".split()),
        *(b"Host host a b".split()),
        *(b"Connection close keep-alive upgrade Upgrade websocket Expect 100-continue".split()),
        *(b"Content-Length Transfer-Encoding chunked 0 1 3 A 10 41 ; : , # %41".split()),
        b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b": ", b"\0", b"\x80", b"x" * 30,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n",
    ]
)  # fmt: skip
STREAMS = st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=40).map(b"".join))

quick = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(STREAMS, st.lists(st.integers(0, 400), max_size=6), st.booleans())
def test_any_bytes_at_any_split_have_one_verdict(serve, data, cuts, eof):
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in pairwise(places)]
    expected = serve([data], limits=LIMITS, eof=eof)
    assert serve(pieces, limits=LIMITS, eof=eof) == expected
    singles = [data[i : i + 1] for i in range(len(data))]
    assert serve(singles, limits=LIMITS, eof=eof) == expected


@quick
@given(st.lists(st.binary(max_size=12), max_size=6), st.booleans())
def test_bodies_come_back_as_they_were_sent(serve, bodies, chunked):
    """F-2: what a client frames is what a handler gets."""
    stream = b""
    for body in bodies:
        stream += b"POST / HTTP/1.1\r\nHost: a\r\n"
        if chunked:
            stream += b"Transfer-Encoding: chunked\r\n\r\n"
            stream += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        else:
            stream += b"Content-Length: %d\r\n\r\n" % len(body) + body
    outcome = serve([stream])
    assert outcome.error == ""
    assert [request["body"] for request in outcome.requests] == bodies


@quick
@given(st.binary(max_size=80))
def test_everything_lazy_raises_the_documented_error_only(serve, noise):
    statuses = {400}

    def look(codec, request):
        assert isinstance(request.cookies, dict)
        assert isinstance(request.text, str)
        assert request.path.startswith("/")
        try:
            assert isinstance(request.query, dict)
            json.dumps(request.json())
        except RemoteProtocolError as error:
            statuses.add(error.status)
        codec.encode("")

    clean = bytes(byte for byte in noise if byte > 0x20 and byte not in b"\x7f#")
    head = b"POST /" + clean + b"?" + clean + b" HTTP/1.1\r\nHost: a\r\nCookie: " + clean
    stream = head + b"\r\nContent-Length: %d\r\n\r\n" % len(noise) + noise
    assert serve([stream], answer=look).error == ""
    assert statuses == {400}
