from __future__ import annotations

import subprocess
import sys

import pytest

from longline.errors import (
    IncompleteError,
    LocalProtocolError,
    OversizeError,
    RemoteProtocolError,
)
from longline.limits import Limits
from longline.protocols.http import CONTINUE, HttpServer, Phase, Response

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


# --- requests and their turns -------------------------------------------------------------


def test_h17_next_request_waits_for_the_answer(codec):
    stream = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(50))
    requests = codec.feed(stream)
    for i in range(50):
        assert [request.path for request in requests] == [f"/{i}"]
        assert codec.current is requests[0]
        assert codec.feed(b"") == []
        codec.encode(str(i))
        assert codec.current is None
        requests = codec.feed(b"")
    assert requests == []
    assert codec.buffered == 0


def test_h17_bytes_that_arrive_before_the_answer_are_kept(codec):
    codec.feed(GET)
    for i in range(len(NEXT)):
        assert codec.feed(NEXT[i : i + 1]) == []
    assert codec.buffered == len(NEXT)
    codec.encode("")
    assert codec.feed(b"")[0].path == "/next"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_may_be_fed(codec, kind):
    assert codec.feed(kind(GET))[0].path == "/"


def test_phases_of_a_request(codec):
    assert codec.phase is Phase.IDLE
    codec.feed(b"P")
    assert codec.phase is Phase.HEAD
    codec.feed(POST[1:] + b"Content-Length: 3\r\n\r\n")
    assert codec.phase is Phase.BODY
    assert codec.body_received == 0
    codec.feed(b"ab")
    assert codec.body_received == 2
    assert codec.buffered == 2
    assert codec.current is None
    codec.feed(b"c")
    assert codec.phase is Phase.ANSWERING
    assert codec.body_received == 0
    codec.encode("")
    assert codec.phase is Phase.IDLE
    assert codec.keep_alive


def test_received_bytes_of_a_chunked_body_are_those_of_the_data(codec):
    codec.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab")
    assert codec.body_received == 2
    codec.feed(b"cde\r\n")
    assert codec.body_received == 5
    assert codec.phase is Phase.BODY


def test_dead_codec_raises_the_same_error_for_ever(codec):
    with pytest.raises(RemoteProtocolError) as first:
        codec.feed(b"GET / HTTP/2.0\r\n\r\n" + GET)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as again:
            codec.feed(GET)
        assert again.value is first.value
    assert codec.phase is Phase.DONE
    assert codec.buffered == 0


def test_b13_two_connections_share_nothing():
    one, other = HttpServer(Limits()), HttpServer(Limits())
    one.feed(GET[:10])
    assert other.phase is Phase.IDLE
    assert other.feed(NEXT)[0].path == "/next"


# --- end of the stream --------------------------------------------------------------------


def test_end_between_requests_is_no_error(codec):
    assert codec.eof() == []
    codec.feed(GET)
    assert codec.eof() == []


@pytest.mark.parametrize(
    "data",
    [b"G", GET[:-1], POST + b"Content-Length: 3\r\n\r\nab",
     POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"],
)  # fmt: skip
def test_h11_end_inside_a_request_is_an_error(codec, data):
    codec.feed(data)
    with pytest.raises(IncompleteError) as caught:
        codec.eof()
    assert caught.value.status == 400
    assert codec.phase is Phase.DONE


def test_complete_requests_before_the_end_are_served(codec):
    codec.feed(GET + NEXT + b"GET /ha")
    assert codec.eof() == []
    codec.encode("")
    assert codec.feed(b"")[0].path == "/next"
    codec.encode("")
    with pytest.raises(IncompleteError):
        codec.feed(b"")


def test_end_between_answer_and_next_feed_gives_the_request_that_waits(codec):
    codec.feed(GET + NEXT)
    codec.encode("")
    assert codec.eof()[0].path == "/next"


# --- answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "content_type", "body"),
    [
        ("hällo", "text/html; charset=utf-8", "hällo".encode()),
        ("", "text/html; charset=utf-8", b""),
        (b"\0", "application/octet-stream", b"\0"),
        (bytearray(b"a"), "application/octet-stream", b"a"),
        (memoryview(b"ab"), "application/octet-stream", b"ab"),
        ({"a": 1}, "application/json", b'{"a":1}'),
        ([1, "ä"], "application/json", '[1,"ä"]'.encode()),
        (Response("a", content_type="text/plain"), "text/plain", b"a"),
    ],
)
def test_every_accepted_type_is_answered(codec, ask, read_answer, message, content_type, body):
    assert isinstance(message, HttpServer.accepts)
    ask()
    answer = read_answer(codec.encode(message))
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.get("Content-Type") == [content_type]
    assert answer.get("Content-Length") == [str(len(body))]
    assert answer.get("Connection") == []
    assert answer.body == body


@pytest.mark.parametrize("message", [None, True, 1, object(), ("a",)])
def test_other_types_raise_and_change_nothing(codec, ask, read_answer, message):
    ask()
    with pytest.raises(TypeError):
        codec.encode(message)
    assert read_answer(codec.encode("a")).body == b"a"


def test_text_that_utf_8_cannot_express_raises_and_changes_nothing(codec, ask, read_answer):
    ask()
    with pytest.raises(LocalProtocolError):
        codec.encode("\ud800")
    assert read_answer(codec.encode("a")).body == b"a"


def test_status_headers_and_cookies_are_written(codec, ask, read_answer):
    ask()
    response = Response("gone", 404, {"X-A": "b", "X-L": "\xe9"})
    response.set_cookie("c", "d")
    response.set_cookie("e", "f")
    answer = read_answer(codec.encode(response))
    assert (answer.status, answer.reason) == (404, "Not Found")
    assert answer.get("X-A") == ["b"]
    assert answer.get("X-L") == ["\xe9"]
    assert len(answer.get("Set-Cookie")) == 2


def test_unregistered_status_has_an_empty_phrase(codec, ask):
    ask()
    assert codec.encode(Response(status=299)).startswith(b"HTTP/1.1 299 \r\n")


def test_o5_server_and_date_are_written_as_they_were_set(codec, ask, read_answer):
    ask()
    answer = read_answer(codec.encode(""))
    assert answer.get("Server") == ["longline"]
    assert answer.get("Date") == []
    codec.date, codec.server_header = b"Sun, 06 Nov 1994 08:49:37 GMT", b""
    ask()
    answer = read_answer(codec.encode(""))
    assert answer.get("Server") == []
    assert answer.get("Date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]


def test_answers_own_server_and_date_win(codec, ask, read_answer):
    codec.date = b"Sun, 06 Nov 1994 08:49:37 GMT"
    ask()
    answer = read_answer(codec.encode(Response(headers={"server": "x", "DATE": "y"})))
    assert answer.get("Server") == ["x"]
    assert answer.get("Date") == ["y"]


def test_o2_second_answer_raises(codec, ask):
    ask()
    codec.encode("a")
    with pytest.raises(LocalProtocolError):
        codec.encode("b")


def test_answer_without_a_request_raises(codec):
    for call in (
        lambda: codec.encode("a"),
        lambda: codec.encode_file_head(Response.file("x"), 1),
        lambda: codec.response_has_body(Response()),
        codec.upgrade,
    ):
        with pytest.raises(LocalProtocolError):
            call()
    codec.feed(GET[:-2])
    with pytest.raises(LocalProtocolError):
        codec.encode("a")


@pytest.mark.parametrize("message", ["hello", Response("hello"), {"a": 1}])
def test_o3_head_is_answered_without_a_body(codec, ask, read_answer, message):
    ask()
    full = read_answer(codec.encode(message))
    ask("HEAD")
    answer = read_answer(codec.encode(message))
    assert answer.body == b""
    assert answer.headers == full.headers
    ask()
    assert read_answer(codec.encode("in step")).body == b"in step"


@pytest.mark.parametrize(("status", "length"), [(204, []), (304, []), (205, ["0"])])
def test_o3_status_without_body_has_none(codec, ask, read_answer, status, length):
    ask()
    answer = read_answer(codec.encode(Response("dropped", status)))
    assert answer.body == b""
    assert answer.get("Content-Length") == length
    assert answer.get("Content-Type") == []
    ask()
    assert read_answer(codec.encode("in step")).body == b"in step"


def test_o3_not_modified_may_announce_the_length_of_the_full_answer(codec, ask, read_answer):
    ask()
    answer = read_answer(codec.encode(Response(b"", 304, {"Content-Length": "500"})))
    assert answer.get("Content-Length") == ["500"]


def test_o3_head_may_announce_the_length_of_the_full_answer(codec, ask, read_answer):
    ask("HEAD")
    answer = read_answer(codec.encode(Response(b"", headers={"Content-Length": "500"})))
    assert answer.get("Content-Length") == ["500"]


def test_o3_no_content_never_has_a_length(codec, ask, read_answer):
    ask()
    answer = read_answer(codec.encode(Response(b"", 204, {"Content-Length": "0"})))
    assert answer.get("Content-Length") == []


@pytest.mark.parametrize("declared", ["0", "4", "6"])
def test_o4_wrong_content_length_raises_and_changes_nothing(codec, ask, read_answer, declared):
    ask()
    with pytest.raises(LocalProtocolError):
        codec.encode(Response("hello", headers={"Content-Length": declared}))
    assert read_answer(codec.encode("a")).body == b"a"


def test_o4_two_content_lengths_raise(codec, ask):
    ask()
    response = Response("hello", headers={"Content-Length": "5"})
    response.headers.add("content-length", "5")
    with pytest.raises(LocalProtocolError):
        codec.encode(response)


def test_o4_right_content_length_is_written_once(codec, ask, read_answer):
    ask()
    answer = read_answer(codec.encode(Response("hello", headers={"content-length": "5"})))
    assert answer.get("Content-Length") == ["5"]


def test_interim_answer_leaves_the_request_waiting(codec, ask):
    ask()
    hints = Response("x", 103, {"Link": "</a>"})
    assert codec.encode(hints) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    )
    assert codec.phase is Phase.ANSWERING
    assert codec.encode("a").endswith(b"a")


def test_http_1_0_gets_no_interim_answer(codec, ask):
    ask(version="1.0")
    assert codec.encode(Response(status=103)) == b""
    assert codec.phase is Phase.ANSWERING


def test_switching_protocols_is_no_answer_of_encode(codec, ask):
    ask()
    with pytest.raises(LocalProtocolError):
        codec.encode(Response(status=101))
    with pytest.raises(LocalProtocolError):
        codec.encode_file_head(Response(status=101), 5)


# --- the connection's life ----------------------------------------------------------------


def close_by_request(codec, ask):
    ask("GET", "Connection: close")
    return "a"


def close_by_version(codec, ask):
    ask(version="1.0")
    return "a"


def close_by_draining(codec, ask):
    ask()
    codec.draining = True
    return "a"


def close_by_draining_http_1_0(codec, ask):
    ask("GET", "Connection: keep-alive", version="1.0")
    codec.draining = True
    return "a"


def close_by_response(codec, ask):
    ask()
    return Response("a", headers={"connection": "Close"})


def close_by_refused_upgrade(codec, ask):
    ask("GET", "Connection: upgrade", "Upgrade: websocket")
    return Response("a", 403)


@pytest.mark.parametrize(
    "prepare",
    [
        close_by_request,
        close_by_version,
        close_by_draining,
        close_by_draining_http_1_0,
        close_by_response,
        close_by_refused_upgrade,
    ],
)
def test_last_answer_says_close(codec, ask, read_answer, prepare):
    message = prepare(codec, ask)
    codec.feed(NEXT)
    answer = read_answer(codec.encode(message))
    assert answer.get("Connection") == ["close"]
    assert answer.body == b"a"
    assert not codec.keep_alive
    assert codec.phase is Phase.DONE
    assert codec.buffered == 0
    assert codec.feed(NEXT) == []
    assert codec.eof() == []
    assert codec.buffered == 0


def test_http_1_0_keep_alive_is_confirmed(codec, ask, read_answer):
    ask("GET", "Connection: keep-alive", version="1.0")
    assert read_answer(codec.encode("a")).get("Connection") == ["keep-alive"]
    assert codec.keep_alive
    assert codec.phase is Phase.IDLE


def test_other_connection_options_are_kept(codec, ask, read_answer):
    ask()
    response = Response("a", 426, {"Connection": "Upgrade, close", "Upgrade": "websocket"})
    answer = read_answer(codec.encode(response))
    assert sorted(answer.get("Connection")) == ["close", "upgrade"]
    assert answer.get("Upgrade") == ["websocket"]


# --- files --------------------------------------------------------------------------------


def test_file_is_answered_in_two_parts(codec, ask, read_answer):
    ask()
    response = Response.file("/a.txt", content_type="text/plain", headers={"X": "y"})
    with pytest.raises(LocalProtocolError):
        codec.encode(response)
    assert codec.response_has_body(response)
    answer = read_answer(codec.encode_file_head(response, 1234))
    assert answer.status == 200
    assert answer.get("Content-Length") == ["1234"]
    assert answer.get("Content-Type") == ["text/plain"]
    assert answer.get("X") == ["y"]
    assert answer.body == b""
    assert codec.phase is Phase.IDLE
    assert codec.keep_alive


def test_head_of_a_file_has_no_body(codec, ask, read_answer):
    ask("HEAD")
    response = Response.file("/a.txt")
    assert not codec.response_has_body(response)
    assert read_answer(codec.encode_file_head(response, 9)).get("Content-Length") == ["9"]


def test_file_of_the_last_request_says_close(codec, ask, read_answer):
    ask("GET", "Connection: close")
    assert read_answer(codec.encode_file_head(Response.file("x"), 9)).get("Connection") == ["close"]
    assert codec.phase is Phase.DONE


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [("GET", 200, True), ("HEAD", 200, False), ("GET", 204, False), ("GET", 304, False),
     ("GET", 205, False), ("POST", 500, True), ("GET", 103, False)],
)  # fmt: skip
def test_whether_an_answer_has_a_body(codec, ask, method, status, expected):
    ask(method)
    assert codec.response_has_body(Response("a", status)) is expected


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 408, 413, 414, 417, 431, 503, 505])
def test_h22_refusal_of_a_waiting_request(codec, ask, read_answer, status):
    ask()
    codec.feed(NEXT)
    answer = read_answer(codec.fail(RemoteProtocolError("secret reason", status=status)))
    assert answer.status == status
    assert answer.get("Connection") == ["close"]
    assert answer.get("Content-Length") == [str(len(answer.body))]
    assert b"secret" not in answer.body
    assert codec.phase is Phase.DONE
    assert not codec.keep_alive
    assert codec.feed(NEXT) == []


@pytest.mark.parametrize("data", [b"G", POST + b"Content-Length: 3\r\n\r\na"])
def test_time_out_in_the_middle_of_a_request_is_answered(codec, read_answer, data):
    codec.feed(data)
    answer = read_answer(codec.fail(RemoteProtocolError("too slow", status=408)))
    assert answer.status == 408
    assert codec.phase is Phase.DONE


def test_nothing_is_said_where_nothing_was_asked(codec):
    assert codec.fail(RemoteProtocolError("too slow", status=408)) == b""
    assert codec.phase is Phase.DONE


def test_o2_nothing_is_said_after_the_answer(codec, ask):
    ask()
    codec.encode("a")
    assert codec.fail(RemoteProtocolError("late")) == b""
    assert codec.fail(RemoteProtocolError("later")) == b""


def test_refusal_of_head_has_no_body(codec, ask, read_answer):
    ask("HEAD")
    assert read_answer(codec.fail(RemoteProtocolError("x"))).body == b""
    other = HttpServer(Limits(max_body_bytes=1))
    with pytest.raises(OversizeError) as caught:
        other.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
    assert read_answer(other.fail(caught.value)).body == b""


def test_h15_refused_method_is_told_what_is_allowed(codec, read_answer):
    with pytest.raises(RemoteProtocolError) as caught:
        codec.feed(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert "GET" in read_answer(codec.fail(caught.value)).get("Allow")[0]


def test_o5_refusal_carries_server_and_date_as_set(codec, ask, read_answer):
    codec.date, codec.server_header = b"d", b"s"
    ask()
    answer = read_answer(codec.fail(RemoteProtocolError("x")))
    assert (answer.get("Date"), answer.get("Server")) == (["d"], ["s"])


# --- 100-continue -------------------------------------------------------------------------


def test_h23_body_is_invited_once(codec):
    codec.feed(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert codec.expects_continue
    assert codec.take_continue() == CONTINUE
    assert not codec.expects_continue
    assert codec.take_continue() == b""
    assert codec.feed(b"abc")[0].body == b"abc"
    assert codec.take_continue() == b""


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 3\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\na",
        POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        POST + b"Expect: 100-continue\r\n",
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    ],
    ids=["not asked", "body began", "body came", "no body", "head not whole", "HTTP/1.0"],
)
def test_h23_nobody_is_invited_who_does_not_wait(codec, data):
    codec.feed(data)
    assert not codec.expects_continue
    assert codec.take_continue() == b""


def test_h23_invitation_of_one_request_is_not_for_the_next(codec):
    expecting = POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    codec.feed(expecting + b"abc")
    codec.encode("")
    codec.feed(POST + b"Content-Length: 3\r\n\r\n")
    assert not codec.expects_continue
    codec.feed(b"abc")
    codec.encode("")
    codec.feed(expecting)
    assert codec.take_continue() == CONTINUE


def test_h23_too_large_a_body_is_refused_in_place_of_an_invitation():
    codec = HttpServer(Limits(max_body_bytes=2))
    with pytest.raises(OversizeError) as caught:
        codec.feed(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert caught.value.status == 413
    assert codec.take_continue() == b""
    assert codec.fail(caught.value).startswith(b"HTTP/1.1 413 ")


# --- upgrade ------------------------------------------------------------------------------


def test_h16_bytes_behind_an_upgrade_are_for_the_next_protocol(codec):
    (request,) = codec.feed(UPGRADE + GET[:7])
    assert request.upgrade == "websocket"
    assert codec.feed(GET[7:]) == []
    assert codec.upgrade() == GET
    assert codec.phase is Phase.DONE
    assert codec.buffered == 0
    assert codec.feed(GET) == []
    for again in (codec.upgrade, lambda: codec.encode("")):
        with pytest.raises(LocalProtocolError):
            again()


def test_h16_bytes_behind_a_refused_upgrade_are_discarded(codec, read_answer):
    codec.feed(UPGRADE + GET)
    answer = read_answer(codec.encode(Response("no", 403)))
    assert answer.get("Connection") == ["close"]
    assert codec.feed(GET) == []
    assert codec.phase is Phase.DONE


def test_ordinary_request_cannot_be_upgraded(codec, ask):
    ask()
    with pytest.raises(LocalProtocolError):
        codec.upgrade()
    assert codec.phase is Phase.ANSWERING


# --- limits and optimisation --------------------------------------------------------------


def test_b1_chunks_above_the_limit_are_refused_before_they_are_buffered():
    codec = HttpServer(Limits(max_body_bytes=1000))
    codec.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        codec.feed(b"64\r\n" + b"x" * 100 + b"\r\n")
    assert codec.buffered == 1000
    with pytest.raises(OversizeError):
        codec.feed(b"64\r\n")
    assert codec.buffered == 0


def test_l1_query_fields_are_those_of_the_limits():
    codec = HttpServer(Limits(max_fields=1))
    (request,) = codec.feed(b"GET /?a&b HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(RemoteProtocolError) as caught:
        request.query  # noqa: B018 - decoded when looked at
    assert codec.fail(caught.value).startswith(b"HTTP/1.1 400 ")


def test_h21_refusals_do_not_depend_on_assertions():
    program = (
        "from longline.protocols.http import HttpServer\n"
        "from longline.limits import Limits\n"
        "from longline.errors import RemoteProtocolError\n"
        "for bad in (b'GET / HTTP/1.1\\r\\n\\r\\n', b'GET / HTTP/1.1\\r\\nHost: a\\n',\n"
        "            b'POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: +1\\r\\n\\r\\n'):\n"
        "    try:\n"
        "        HttpServer(Limits()).feed(bad)\n"
        "    except RemoteProtocolError:\n"
        "        print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused"] * 3
