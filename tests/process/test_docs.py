"""What the README and the first docs show is run, and what they point to is there."""

from __future__ import annotations

import http.client
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


def test_the_protocols_of_the_guide_keep_the_contract(tmp_path: Path) -> None:
    page = "docs/protocols.md"
    code = [block for block in blocks(page) if "run()" not in block]
    code.append(
        "test_netstring()\n"
        "check_codec(lambda: Bytes10(None), [(b'0123456789' * 2, [b'0123456789'] * 2)],\n"
        "            errors=[b'0123456789' + bytes(10)])\n"
    )
    script = tmp_path / "protocols.py"
    script.write_text("\n".join(code))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True,
                          env=dict(os.environ), timeout=30, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_protocol_of_the_guide_is_served(service: Make) -> None:
    page = "docs/protocols.md"
    source = block(page, "class Netstring") + block(page, "netstring://", "run()")
    echo = service(source.replace("9107", "PORT"))
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
