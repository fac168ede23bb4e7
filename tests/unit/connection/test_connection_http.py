"""HTTP connections: order, answers, deadlines, files, drains."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from longline.connection import HttpConnection
from longline.errors import LocalProtocolError
from longline.protocols.http import Response

from .connection_lab import Lab, Peer, on_loop

if TYPE_CHECKING:
    from pathlib import Path


def get(path: str = "/", *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a.example", *fields, "", ""]).encode()


async def answer(peer: Peer, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
    head = (await peer.until(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    length = int(fields.get("content-length", 0)) if body else 0
    return int(first.split()[1]), fields, await peer.exactly(length)


@on_loop
async def test_plain_and_asynchronous_answers(lab: Lab) -> None:
    async def slow(request: Any) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"path": request.path}

    def serve(conn: Any, request: Any) -> Any:
        assert request.connection is conn
        assert conn.request is request
        return slow(request) if request.path == "/slow" else "hello"

    peer = await lab.connect("http", on_message=serve)
    await peer.send(get("/"))
    status, fields, body = await answer(peer)
    assert (status, body) == (200, b"hello")
    assert fields["date"].endswith("GMT")
    await peer.send(get("/slow"))
    assert (await answer(peer))[2] == b'{"path":"/slow"}'
    assert peer.conn.request is None


@on_loop
async def test_h17_pipelined_answers_keep_the_order(lab: Lab) -> None:
    at_work = 0

    async def serve(conn: Any, request: Any) -> str:
        nonlocal at_work
        at_work += 1
        assert at_work == 1
        await asyncio.sleep(0.01 if request.path == "/0" else 0)
        at_work -= 1
        return request.path

    peer = await lab.connect("http", on_message=serve)
    await peer.send(b"".join(get(f"/{n}") for n in range(50)))
    for n in range(50):
        assert (await answer(peer))[2] == b"/%d" % n


@on_loop
async def test_plain_pipelined_answers_leave_in_one_write(lab: Lab) -> None:
    peer = await lab.connect("http", on_message=lambda c, r: "x")
    await peer.send(get() * 10)
    assert (await peer.read()).count(b"HTTP/1.1 200") == 10


@on_loop
async def test_deferred_answer_lets_the_next_request_wait(lab: Lab) -> None:
    waiting: list[Any] = []
    peer = await lab.connect("http", on_message=lambda c, r: waiting.append(r.path))
    await peer.send(get("/a") + get("/b"))
    await lab.until(lambda: waiting)
    await lab.turns()
    assert waiting == ["/a"]
    assert peer.conn.send("for a") is True
    await lab.until(lambda: len(waiting) == 2)
    peer.conn.send("for b")
    assert [(await answer(peer))[2] for _ in range(2)] == [b"for a", b"for b"]
    with pytest.raises(LocalProtocolError):
        peer.conn.send("for nobody")


@on_loop
async def test_o2_second_answer_is_an_error(lab: Lab) -> None:
    errors: list[Exception] = []

    def twice(conn: Any, request: Any) -> str:
        conn.send("once")
        return "twice"

    peer = await lab.connect("http", on_message=twice, on_error=lambda c, e: errors.append(e))
    await peer.send(get())
    assert (await answer(peer))[2] == b"once"
    assert await peer.rest() == b""
    assert isinstance(errors[0], LocalProtocolError)


@on_loop
async def test_unanswered_request_gets_503_at_response_timeout(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await lab.connect("http", on_message=lambda c, r: None, response_timeout=0.1)
    await peer.send(get())
    status, fields, _ = await answer(peer)
    assert (status, fields["connection"]) == (503, "close")
    assert await peer.rest() == b""
    assert peer.conn.send("late") is False
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"response_timeout": 1}
    assert "response_timeout" in caplog.text


@on_loop
async def test_c1_exception_is_answered_500_and_closes(lab: Lab) -> None:
    def fail(conn: Any, request: Any) -> None:
        raise KeyError("secret")

    peer = await lab.connect("http", on_message=fail)
    await peer.send(get() + get())
    status, fields, body = await answer(peer)
    assert (status, fields["connection"]) == (500, "close")
    assert b"secret" not in body
    assert await peer.rest() == b""


@on_loop
async def test_request_errors_raised_in_a_handler_answer_400(lab: Lab) -> None:
    async def parse(conn: Any, request: Any) -> str:
        await asyncio.sleep(0)
        return str(request.json())

    peer = await lab.connect("http", on_message=parse)
    await peer.send(get("/", "Content-Length: 3", method="POST") + b"{no")
    assert (await answer(peer))[0] == 400
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"protocol_error": 1}
    assert peer.host.stats.handler_errors == 0


@on_loop
async def test_malformed_request_is_answered_and_the_rest_discarded(lab: Lab) -> None:
    seen: list[str] = []
    peer = await lab.connect("http", tcp=True, on_message=lambda c, r: seen.append(r.path))
    await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n" + get("/smuggled") * 500)
    assert (await answer(peer))[0] == 400
    assert await peer.rest() == b""
    assert seen == []


@on_loop
async def test_connection_close_is_obeyed(lab: Lab) -> None:
    peer = await lab.connect("http", on_message=lambda c, r: "bye")
    await peer.send(get("/", "Connection: close"))
    assert (await answer(peer))[1]["connection"] == "close"
    assert await peer.rest() == b""


@on_loop
async def test_half_closed_client_gets_its_answers(lab: Lab) -> None:
    async def serve(conn: Any, request: Any) -> str:
        await asyncio.sleep(0.001)
        return request.path

    peer = await lab.connect("http", on_message=serve)
    await peer.send(get("/a") + get("/b"))
    peer.half_close()
    assert [(await answer(peer))[2] for _ in range(2)] == [b"/a", b"/b"]
    assert await peer.rest() == b""
    await peer.gone()
    assert peer.host.stats.reasons == {"peer": 1}


@on_loop
async def test_deferred_answer_reaches_a_half_closed_client(lab: Lab) -> None:
    seen: list[Any] = []
    peer = await lab.connect("http", on_message=lambda c, r: seen.append(r))
    await peer.send(get())
    peer.half_close()
    await lab.until(lambda: seen and peer.conn._eof)
    peer.conn.send("late")
    assert (await answer(peer))[2] == b"late"
    assert await peer.rest() == b""


@on_loop
async def test_end_inside_a_request_is_counted(lab: Lab) -> None:
    peer = await lab.connect("http")
    await peer.send(b"GET / HTTP/1.1\r\nHo")
    peer.half_close()
    await peer.rest()
    await peer.gone()
    assert peer.host.stats.reasons == {"incomplete": 1}


@on_loop
async def test_h23_continue_invites_the_body_once(lab: Lab) -> None:
    peer = await lab.connect("http", on_message=lambda c, r: r.body)
    await peer.send(get("/", "Content-Length: 4", "Expect: 100-continue", method="POST"))
    assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await peer.send(b"bo")
    await peer.send(b"dy")
    assert (await answer(peer))[2] == b"body"


@on_loop
async def test_first_byte_timeout_closes_without_an_answer(lab: Lab) -> None:
    peer = await lab.connect("http", first_byte_timeout=0.1)
    assert await peer.rest() == b""
    await peer.gone()
    assert peer.host.stats.reasons == {"first_byte_timeout": 1}


@on_loop
async def test_e9_trickled_head_is_answered_408(lab: Lab) -> None:
    peer = await lab.connect("http", head_timeout=0.2)
    for byte in b"GET":
        await peer.send(bytes([byte]))
        await asyncio.sleep(0.02)
    assert (await answer(peer))[0] == 408
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"head_timeout": 1}


@on_loop
async def test_e9_trickled_body_is_answered_408(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpConnection, "BODY_WINDOW", 0.2)
    peer = await lab.connect("http", min_body_rate=1000)
    await peer.send(get("/", "Content-Length: 1000", method="POST") + b"x")
    assert (await answer(peer))[0] == 408


@on_loop
async def test_body_that_keeps_the_rate_is_taken(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpConnection, "BODY_WINDOW", 0.3)
    peer = await lab.connect("http", min_body_rate=100, on_message=lambda c, r: str(len(r.body)))
    await peer.send(get("/", "Content-Length: 1000", method="POST"))
    for _ in range(20):
        await peer.send(b"x" * 50)
        await asyncio.sleep(0.04)
    assert (await answer(peer))[2] == b"1000"


@on_loop
async def test_idle_keep_alive_is_closed(lab: Lab) -> None:
    peer = await lab.connect("http", on_message=lambda c, r: "x", idle_timeout=0.1)
    await peer.send(get())
    await answer(peer)
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"idle": 1}


@on_loop
async def test_p14_draining_answers_with_close(lab: Lab) -> None:
    peer = await lab.connect("http", on_message=lambda c, r: "x")
    await peer.send(get())
    await answer(peer)
    peer.conn.drain_out("reload", 5.0)
    await peer.send(get())
    assert (await answer(peer))[1]["connection"] == "close"
    assert await peer.rest() == b""


@on_loop
async def test_p14_drain_closes_idle_keep_alive_after_the_grace(lab: Lab) -> None:
    peer = await lab.connect("http", on_message=lambda c, r: "x")
    await peer.send(get())
    await answer(peer)
    peer.conn.drain_out("reload", 0.1)
    assert peer.conn.state == "open"
    assert await peer.rest() == b""
    peer.close()
    await peer.gone()
    assert peer.host.stats.reasons == {"reload": 1}


@on_loop
async def test_o3_head_has_no_body_and_stays_in_step(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    peer = await lab.connect(
        "http", on_message=lambda c, r: Response.file(path) if r.path == "/file" else "hello"
    )
    await peer.send(get(method="HEAD") + get("/file", method="HEAD") + get())
    assert (await answer(peer, body=False))[1]["content-length"] == "5"
    assert (await answer(peer, body=False))[1]["content-length"] == "1000"
    assert (await answer(peer))[2] == b"hello"


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000])
@on_loop
async def test_file_is_sent_whole_and_the_next_request_waits(
    lab: Lab, size: int, tmp_path: Path
) -> None:
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    peer = await lab.connect(
        "http", buffer=8192, max_send_buffer=300_000,
        on_message=lambda c, r: Response.file(path) if r.path == "/file" else "next",
    )  # fmt: skip
    await peer.send(get("/file") + get("/next") + get("/file"))
    assert (await answer(peer))[2] == content
    assert (await answer(peer))[2] == b"next"
    assert (await answer(peer))[2] == content


@pytest.mark.parametrize("call", ["close", "end"])
@on_loop
async def test_close_after_a_file_waits_for_its_end(lab: Lab, call: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)

    def serve(conn: Any, request: Any) -> None:
        conn.send(Response.file(path))
        getattr(conn, call)()

    peer = await lab.connect("http", buffer=8192, on_message=serve)
    await peer.send(get())
    assert len((await answer(peer))[2]) == 1_000_000
    assert await peer.rest() == b""


@on_loop
async def test_missing_file_and_fifo_and_directory_are_404(lab: Lab, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    peer = await lab.connect(
        "http", on_message=lambda c, r: Response.file(tmp_path / r.path.strip("/"))
    )
    for path in ("/missing", "/fifo", "/"):
        await peer.send(get(path))
        assert (await answer(peer))[0] == 404


@on_loop
async def test_file_that_shrinks_breaks_the_connection(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5_000_000)
    peer = await lab.connect("http", buffer=8192, on_message=lambda c, r: Response.file(path))
    await peer.send(get())
    await peer.until(b"\r\n\r\n")
    path.write_bytes(b"")
    got = await peer.rest()
    assert len(got) < 5_000_000
    await peer.gone()
    assert peer.host.stats.reasons == {"file_shrunk": 1}


@on_loop
async def test_client_that_leaves_during_a_file_leaves_no_descriptor(
    lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5_000_000)
    peer = await lab.connect("http", buffer=8192, on_message=lambda c, r: Response.file(path))
    await peer.send(get())
    await peer.until(b"\r\n\r\n")
    peer.close()
    await peer.gone()
    await lab.until(lambda: peer.first._file is None)
    await lab.until(lambda: not peer.host.tasks)


@on_loop
async def test_c3_client_that_never_reads_is_bounded_and_closed(lab: Lab) -> None:
    served = 0

    def serve(conn: Any, request: Any) -> bytes:
        nonlocal served
        served += 1
        return b"x" * 10_000

    peer = await lab.connect(
        "http", buffer=8192, on_message=serve, max_send_buffer=100_000, write_timeout=0.3
    )
    sending = asyncio.ensure_future(peer.send(get() * 5000))
    await peer.gone()
    assert served < 100
    assert peer.host.stats.reasons == {"slow_reader": 1}
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


@on_loop
async def test_l3_slow_client_of_large_pipelined_answers_gets_them_all(lab: Lab) -> None:
    peer = await lab.connect(
        "http", buffer=8192, max_send_buffer=100_000, on_message=lambda c, r: b"x" * 60_000
    )
    await peer.send(get() * 30)
    for _ in range(30):
        assert len((await answer(peer))[2]) == 60_000


@on_loop
async def test_request_without_a_handler_is_404(lab: Lab) -> None:
    peer = await lab.connect("http")
    await peer.send(get())
    assert (await answer(peer))[0] == 404


@on_loop
async def test_o2_handler_that_answered_cannot_answer_the_next_request(lab: Lab) -> None:
    go = asyncio.Event()
    raised: list[Exception] = []

    async def serve(conn: Any, request: Any) -> str | None:
        if request.path != "/first":
            return "second"
        conn.send("first")
        await go.wait()
        assert conn.request is None
        try:
            conn.send("again")
        except LocalProtocolError as error:
            raised.append(error)
        return None

    peer = await lab.connect("http", on_message=serve)
    await peer.send(get("/first"))
    assert (await answer(peer))[2] == b"first"
    await peer.send(get("/second"))
    await lab.until(lambda: peer.conn._inbox)
    go.set()
    assert (await answer(peer))[2] == b"second"
    assert len(raised) == 1
