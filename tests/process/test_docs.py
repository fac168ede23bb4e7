"""What the README and the first docs show is run, and what they point to is there."""

from __future__ import annotations

import http.client
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

import longline
from longline.limits import LIMITS

from .service import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from .service import Service

    Make = Callable[..., Service]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: str, language: str = "python") -> list[str]:
    """Return the code of a page, block by block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def block(page: str, *parts: str) -> str:
    """Return the one block that contains all parts."""
    [found] = [code for code in blocks(page) if all(part in code for part in parts)]
    return found


def test_the_chat_of_the_readme_tells_everybody_but_the_speaker(service: Make) -> None:
    chat = service(block("README.md", "run()").replace("2346", "PORT"))
    chat.start()
    url = f"ws://127.0.0.1:{chat.port}"
    with connect(url, proxy=None) as ann, connect(url, proxy=None) as bob:
        assert [ann.recv(5), bob.recv(5)] == ["welcome", "welcome"]
        ann.send("hello")
        assert bob.recv(5) == "hello"
        bob.send("hello yourself")
        assert ann.recv(5) == "hello yourself"


def test_the_first_service_answers_and_the_reporter_connects_to_it(service: Make) -> None:
    page = "docs/getting-started.md"
    hello = service(block(page, "text://", "count=2", "run()").replace("9000", "PORT"))
    hello.start()
    assert re.fullmatch("hello world, from process [01]", hello.ask("world"))
    source = block(page, "reporter", "run()").replace("9000", str(hello.port))
    reporter = service(source)
    reporter.start()
    wait_for(lambda: len(hello.connections()) == 1)


def test_http_and_websocket_share_the_port_of_the_guide(service: Make) -> None:
    source = block("docs/getting-started.md", "on_websocket_message", "run()")
    web = service(source.replace("8080", "PORT"))
    web.start()
    with closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)) as client:
        client.request("GET", "/?name=Ada")
        assert json.loads(client.getresponse().read()) == {"hello": "Ada"}
        client.request("GET", "/elsewhere")
        assert client.getresponse().status == 404
    with connect(f"ws://127.0.0.1:{web.port}/", proxy=None) as client:
        client.send("loud")
        assert client.recv(5) == "LOUD"


def test_the_worker_beside_the_php_one_answers(service: Make) -> None:
    hello = service(
        block("docs/from-workerman.md", "run()").replace("0.0.0.0:2347", "127.0.0.1:PORT")
    )
    hello.start()
    assert hello.ask("you") == "hello you"


def test_the_api_of_the_guide_adds_and_refuses(service: Make) -> None:
    api = service(block("docs/getting-started.md", '"/sum"').replace("8000", "PORT"))
    api.start()
    with closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)) as client:

        def ask(method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
            client.request(method, path, body)
            answer = client.getresponse()
            return answer.status, answer.read()

        assert ask("GET", "/")[0] == 200
        assert ask("POST", "/sum", "[1, 2]") == (200, b'{"sum":3}')
        assert ask("POST", "/sum", "[1, null]")[0] == 400
        assert ask("PUT", "/sum")[0] == 404
        assert ask("POST", "/sum", "no JSON")[0] == 400


def test_the_first_check_of_the_guide_can_be_typed(service: Make) -> None:
    page = "docs/getting-started.md"
    hello = service(block(page, "text://", "count=2", "run()").replace("9000", "PORT"))
    hello.start()
    [typed] = [code for code in blocks(page, "console") if "create_connection" in code]
    command = typed.splitlines()[0].removeprefix("$ ").replace("9000", str(hello.port))
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=30, check=False
    )
    assert re.fullmatch("hello world, from process [01]\n+", done.stdout), done


def test_the_test_of_the_guide_passes_and_finds_errors(tmp_path: Path) -> None:
    page = "docs/protocols.md"
    protocol = block(page, "class Netstring")
    test = tmp_path / "test_netstring.py"
    test.write_text(block(page, "def test_netstring"))
    for source, code in ((protocol, 0), (protocol.replace("end + 1  # the", "end  # the"), 1)):
        (tmp_path / "netstring.py").write_text(source)
        # Two versions within one second have the same time, and the first one's bytecode.
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout


def test_run_may_stand_in_a_module_that_the_script_imports(service: Make) -> None:
    page = "docs/getting-started.md"
    it = service("import hello")
    hello = block(page, "text://", "count=2", "run()").replace("9000", str(it.port))
    (it.directory / "hello.py").write_text(hello)
    it.start()
    assert it.ask("world").startswith("hello world")


def test_options_alone_start_the_script(service: Make) -> None:
    page = "docs/getting-started.md"
    hello = service(block(page, "text://", "count=2", "run()").replace("9000", "PORT"))
    command = [hello.python, str(hello.script), "-d"]
    done = subprocess.run(command, env=hello.env, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert hello.status()["service"]["mode"] == "daemon"
    assert hello.ask("world").startswith("hello world")


def test_the_other_protocols_of_the_guide_keep_the_contract(tmp_path: Path) -> None:
    page = "docs/protocols.md"
    script = tmp_path / "protocols.py"
    script.write_text(
        block(page, "class Bytes10") + block(page, "class JsonNL") +
        "from longline.testing import check_codec\n"
        "check_codec(lambda: Bytes10(None), [(b'0123456789' * 2, [b'0123456789'] * 2)],\n"
        "            errors=[b'0123456789' + bytes(10)])\n"
    )  # fmt: skip
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True,
                          env=dict(os.environ), timeout=30, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_protocol_of_the_guide_is_served(service: Make) -> None:
    page = "docs/protocols.md"
    echo = service(block(page, "netstring://", "run()").replace("9107", "PORT"))
    (echo.directory / "netstring.py").write_text(block(page, "class Netstring"))
    echo.start()
    with echo.connect() as sock:
        sock.sendall(b"5:hello,")
        assert sock.recv(100) == b"5:hello,"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_compiles(page: Path) -> None:
    for code in blocks(str(page.relative_to(ROOT))):
        bare = re.sub(r"^(@worker\.on_\w+) .*$", r"\1\ndef _(*_): ...", code, flags=re.MULTILINE)
        wrapped = "async def _():\n" + "".join(f"    {line}\n" for line in bare.splitlines())
        compile(wrapped if "async with" in bare else bare, page.name, "exec")


CONNECTIONS = (longline.Connection, longline.HttpConnection, longline.WebSocketConnection)
OWNERS = {
    "conn": CONNECTIONS,
    "worker": (longline.Worker,),
    "Worker": (longline.Worker,),
    "request": (longline.Request,),
    "response": (longline.Response,),
    "Response": (longline.Response,),
    "timer": (longline.Timer,),
    "Timer": (longline.Timer,),
    "app": (longline.Application,),
}
"""What the names in the tables stand for."""
FREE = {"worker.uids", "app.py", "app.log"}
"""Attributes that are the reader's own, and names of files."""


def table_code(page: str) -> list[str]:
    """Return what stands in backquotes right of the first column."""
    text = (ROOT / page).read_text(encoding="utf-8")
    rows = [line.split(" | ", 1)[1] for line in text.splitlines() if re.match(r"\| .+ \| ", line)]
    return [code for row in rows for code in re.findall("`([^`]+)`", row)]


def exists(owner: str, name: str) -> bool:
    """Whether an attribute is there: of the class, or set in its constructor."""
    return f"{owner}.{name}" in FREE or any(
        hasattr(kind, name) or any(f"self.{name}" in inspect.getsource(c) for c in ours(kind))
        for kind in OWNERS[owner]
    )


def ours(kind: type) -> list[type]:
    """Return the classes of ours that a class is made of."""
    return [base for base in kind.__mro__ if base.__module__.startswith("longline")]


def unknown(code: str) -> list[str]:
    """Return what a piece of a table names and Longline has not."""
    names = re.findall(r"(?<![\w.])(\w+)\.([a-z]\w*)", code)
    missing = [f"{o}.{name}" for o, name in names if o in OWNERS and not exists(o, name)]
    # After nothing but `import longline`, no module of it is an attribute of it.
    plain = re.sub(r"from longline[\w.]* import \w+", "", code)
    missing += {n for n in re.findall(r"\blongline\.(\w+)", plain) if n not in longline.__all__}
    if "Worker(" in code:
        keywords = {*inspect.signature(longline.Worker).parameters, *LIMITS}
        missing += {n for n in re.findall(r"(\w+)=", code) if n not in keywords}
    return missing


@pytest.mark.parametrize("page", ["docs/from-workerman.md", "docs/getting-started.md"])
def test_every_name_in_a_table_exists(page: str) -> None:
    assert {code: names for code in table_code(page) if (names := unknown(code))} == {}


@pytest.mark.parametrize(
    "code",
    ["conn.fly()", "longline.timer.cancel_all()", "Worker(speed=1)", "@app.on_fire", "timer.none"],
)
def test_a_name_that_is_none_is_found(code: str) -> None:
    assert unknown(code) != []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_import_of_a_page_works(page: Path) -> None:
    lines = re.findall(
        r"\bfrom (longline[\w.]*) import ([\w, ]+)", page.read_text(encoding="utf-8")
    )
    for module, names in lines:
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), (module, name)
