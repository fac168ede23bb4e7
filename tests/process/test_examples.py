"""Every example, started as its reader would, does what its first lines say."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from .service import Service, alive, free_port, read_line, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., Service]

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(
    str(path.relative_to(EXAMPLES))
    for path in EXAMPLES.rglob("*.py")
    if "run()" in path.read_text() or path.name == "embedded.py"
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an example; a scheme makes it listen on a free port, given as LISTEN."""
    started: list[Service] = []

    def start(name: str, scheme: str | None = None, **env: str) -> Service:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        service = Service(directory, "", **env)
        service.script = EXAMPLES / name
        if scheme is not None:
            service.env["LISTEN"] = f"{scheme}://127.0.0.1:{service.port}"
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.stop()


def exchange(service: Service, sent: bytes, expected: bytes) -> None:
    """Send bytes and expect bytes, on one connection."""
    with service.connect() as sock:
        sock.sendall(sent)
        assert receive(sock, len(expected)) == expected


def receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            break
        data += chunk
    return data


def ask_http(
    port: int, method: str, path: str, body: bytes | None = None
) -> tuple[int, str, bytes]:
    """Return status, content type and body of an answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
        client.request(method, path, body)
        answer = client.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


def test_echo_tcp(start: Start) -> None:
    exchange(start("echo_tcp.py", "tcp"), b"any \x00 bytes", b"any \x00 bytes")


def test_echo_text(start: Start) -> None:
    greeting = b"hello, say something\n"
    exchange(start("echo_text.py", "text"), b"hi\r\n", greeting + b"you said 'hi'\n")


def test_echo_frame(start: Start) -> None:
    service = start("echo_frame.py", "frame")
    exchange(service, b"\0\0\0\x09hello", b"\0\0\0\x09hello")
    with service.connect():
        wait_for(lambda: [row["protocol"] for row in service.connections()] == ["frame"])


def test_echo_jsonl(start: Start) -> None:
    service = start("echo_jsonl.py", "jsonl")
    assert json.loads(service.ask('{"numbers": [1, 2, 3.5]}')) == {"sum": 6.5}
    assert "error" in json.loads(service.ask('["neither"]'))


def test_echo_http(start: Start) -> None:
    port = start("echo_http.py", "http").port
    status, kind, body = ask_http(port, "GET", "/?name=Ada")
    assert (status, kind, json.loads(body)["hello"]) == (200, "application/json", "Ada")
    assert ask_http(port, "POST", "/echo", b"a body")[2] == b"a body"
    assert ask_http(port, "GET", "/elsewhere")[0] == 404


def test_echo_websocket(start: Start) -> None:
    service = start("echo_websocket.py", "websocket")
    with connect(f"ws://127.0.0.1:{service.port}", proxy=None) as client:
        assert client.recv(5) == "you are connection 1"
        for message in ("text", b"binary"):
            client.send(message)
            assert client.recv(5) == message
        assert [row["protocol"] for row in service.connections()] == ["websocket"]


def test_custom_protocol(start: Start) -> None:
    service = start("custom_protocol.py", "netstring")
    exchange(service, b"5:hello,0:,2:yo,", b"5:HELLO,0:,2:YO,")
    exchange(service, b"no length", b"")


def test_workerman_protocol(start: Start) -> None:
    service = start("workerman_protocol.py", "jsonnl")
    assert json.loads(service.ask('{"a": 1}')) == {"type": "pong", "to": {"a": 1}}


def test_proxy(start: Start) -> None:
    target = start("echo_tcp.py", "tcp")
    service = start("proxy.py", "tcp", TARGET=f"tcp://127.0.0.1:{target.port}")
    data = os.urandom(1_000_000)
    with service.connect() as sock:
        sock.settimeout(20)
        # More than the buffers on the way take: sent and received by turns.
        for offset in range(0, len(data), 50_000):
            piece = data[offset : offset + 50_000]
            sock.sendall(piece)
            assert receive(sock, len(piece)) == piece
    target.stop()
    exchange(service, b"is anybody there?", b"")
    wait_for(lambda: "cannot be reached" in service.text())


def test_push(start: Start) -> None:
    inner = free_port()
    service = start("push.py", "websocket", PUSH_LISTEN=f"text://127.0.0.1:{inner}")
    for _ in range(2):
        with connect(f"ws://127.0.0.1:{service.port}", proxy=None) as browser:
            browser.send("ann")
            assert browser.recv(5) == "you get what is pushed to ann"
            assert service.ask("ann your parcel has arrived", inner) == "sent to 1"
            assert browser.recv(5) == "your parcel has arrived"
        assert service.ask("bob is he there?", inner) == "sent to 0"
        assert service.run("reload").returncode == 0


def test_timer(start: Start) -> None:
    service = start("timer.py", INTERVAL="0.05")
    [pid] = service.pids("clock")
    wait_for(lambda: service.text().count(f"tick of process {pid}") >= 3, "it ticks")


def test_embedded() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "embedded.py")],
        env={**os.environ, "LISTEN": "text://127.0.0.1:0"},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "IS ANYBODY THERE?\n", "")


def test_bench_server(start: Start) -> None:
    port = four_ports()
    service = start("bench_server.py", PORT=str(port), PROCS="2")
    assert len(service.pids()) == 8
    assert ask_http(port, "GET", "/") == (200, "text/plain", b"hello world")
    with connect(f"ws://127.0.0.1:{port + 1}", proxy=None) as client:
        client.send("echo")
        assert client.recv(5) == "echo"
    for offset in (2, 3):
        assert service.ask("echo", port + offset) == "echo"


def four_ports() -> int:
    """Return the first of four neighbouring ports that are free now."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + 4):
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first


def test_chat(start: Start, tmp_path: Path) -> None:
    """Its pages are tested in tests/interop/test_chat.py."""
    port = free_port()
    data = tmp_path / "data"
    start("chat/app.py", CHAT_LISTEN=f"127.0.0.1:{port}", CHAT_DATA=str(data))
    assert data.stat().st_mode & 0o777 == 0o700
    status, kind, page = ask_http(port, "GET", "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    for name in ("chat.css", "chat.js"):
        assert f'"{name}"'.encode() in page
        assert ask_http(port, "GET", f"/{name}")[0] == 200
    assert ask_http(port, "GET", "/app.py")[0] == 404
    assert ask_http(port, "GET", "/..%2fapp.py")[0] == 404
    with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        client.send(b'{"do": "say", "id": "1", "room": "tea", "text": "too early"}')
        wait_for(lambda: closed_by(client) == (1008, "join first"))
    with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        tell(client, do="join", name="Ann", room="tea")
        assert hear(client) == {"event": "history", "messages": []}
        assert hear(client) == {"event": "online", "names": ["Ann"]}
        tell(client, do="say", id="1", room="tea", text="hello")
        assert hear(client)["text"] == "hello"
        assert hear(client) == {"event": "stored", "id": "1"}
        tell(client, do="say", id="1", room="tea", text="hello")
        assert hear(client) == {"event": "stored", "id": "1"}


def tell(client: Any, **message: str) -> None:
    client.send(json.dumps(message))


def hear(client: Any) -> dict[str, Any]:
    return dict(json.loads(client.recv(5)))


def closed_by(client: Any) -> tuple[int | None, str | None]:
    return client.close_code, client.close_reason


def test_chat_refuses_a_directory_that_others_can_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    service = Service(tmp_path, "", CHAT_LISTEN=f"127.0.0.1:{free_port()}", CHAT_DATA=str(tmp_path))
    service.script = EXAMPLES / "chat" / "app.py"
    process = service.popen()
    assert process.wait(20) != 0
    assert "has to be yours alone" in service.text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_example_says_how_to_try_it_and_has_a_test(name: str) -> None:
    path = EXAMPLES / name
    label = "chat" if name == "chat/app.py" else path.stem
    assert f"test_{label}" in globals()
    text = path.read_text()
    how = "python" if label == "embedded" else "longline start"
    assert f"{how} examples/{name}" in text.split('"""')[1]


@pytest.mark.parametrize("how", ["python", "longline"])
def test_both_ways_to_start_serve_and_stop(how: str, tmp_path: Path) -> None:
    service = Service(tmp_path, "")
    service.env["LISTEN"] = f"text://127.0.0.1:{service.port}"
    service.script = EXAMPLES / "echo_text.py"
    script = str(service.script)

    def run(command: str, *options: str) -> None:
        words = [script, command, *options]
        if how == "longline":
            words = ["-m", "longline", command, *options, script]
        subprocess.run([sys.executable, *words], env=service.env, check=True, timeout=30,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    try:
        run("start", "-d", "--log", str(service.log))
        with service.connect() as sock:
            assert read_line(sock) == "hello, say something"
        pids = [service.master_pid, *service.pids()]
        run("stop")
        assert not [pid for pid in pids if alive(pid)]
    finally:
        service.stop()
