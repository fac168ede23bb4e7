"""The chat example in a real browser, and what a reload of the service does to it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..process.service import Service, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page

    Open = Callable[..., Page]

CHAT = Path(__file__).parents[2] / "examples" / "chat" / "app.py"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests here.

    No longer than that: while its driver lives, an event loop counts as running in this thread,
    and no other test could run one of its own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not os.path.exists(CHROMIUM):
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Service]:
    """The chat, started; its history lies in the test's own directory."""
    service = Service(tmp_path, "", CHAT_DATA=str(tmp_path / "data"))
    service.env["CHAT_LISTEN"] = f"127.0.0.1:{service.port}"
    service.script = CHAT
    service.start()
    yield service
    service.stop()


@pytest.fixture
def enter(browser: Browser, chat: Service) -> Iterator[Open]:
    """Open a page of its own and join a room; no page may have complained in the end."""
    contexts = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # While the service is away a connection may be refused: the page tries again.
        if message.type == "error" and not message.text.startswith("WebSocket connection to"):
            complaints.append(message.text)

    def enter(name: str, room: str = "lobby") -> Page:
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", listen)
        page.goto(f"http://127.0.0.1:{chat.port}/")
        join(page, name, room)
        return page

    yield enter
    for context in contexts:
        context.close()
    assert complaints == []


def join(page: Page, name: str, room: str) -> None:
    page.fill("#name", name)
    page.fill("#room", room)
    page.click("#who button")
    connected(page)


def connected(page: Page) -> None:
    """Wait until the service has answered this page's join."""
    # Playwright's own wait_for_function evaluates text in the page, which its policy forbids.
    wait_for(lambda: page.evaluate("ready"), "the page is connected")


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def said(page: Page) -> list[str]:
    """Return the room's messages as the page shows them: "name: text"."""
    script = "rows => rows.map(row => row.children[1].innerText + ': ' + row.children[2].innerText)"
    return list(page.eval_on_selector_all("#messages li", script))


def online(page: Page) -> list[str]:
    return list(page.eval_on_selector_all("#online li", "rows => rows.map(row => row.innerText)"))


def sees(page: Page, *messages: str) -> None:
    """Wait until the page shows exactly these messages, in this order."""
    wait_for(lambda: said(page) == list(messages), f"the page shows {messages}")


def sees_online(page: Page, *names: str) -> None:
    wait_for(lambda: online(page) == list(names), f"the page says that {names} are online")


def test_messages_cross_both_ways_and_all_see_who_is_online(enter: Open) -> None:
    ann, bob = enter("Ann"), enter("Bob")
    say(ann, "hello Bob")
    sees(bob, "Ann: hello Bob")
    say(bob, "hello Ann")
    sees(ann, "Ann: hello Bob", "Bob: hello Ann")
    sees(bob, "Ann: hello Bob", "Bob: hello Ann")
    sees_online(ann, "Ann", "Bob")
    sees_online(bob, "Ann", "Bob")
    bob.context.close()
    sees_online(ann, "Ann")


def test_a_room_hears_nothing_of_another_one(enter: Open) -> None:
    ann, bob = enter("Ann", "tea"), enter("Bob", "coffee")
    say(ann, "Darjeeling")
    sees(ann, "Ann: Darjeeling")
    sees_online(bob, "Bob")
    assert said(bob) == []
    join(bob, "Bob", "tea")
    sees(bob, "Ann: Darjeeling")
    sees_online(ann, "Ann", "Bob")


def test_what_is_said_is_shown_as_text_and_never_run(enter: Open) -> None:
    ann, bob = enter("<i>Ann</i>"), enter("Bob")
    text = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    say(ann, text)
    sees(bob, f"<i>Ann</i>: {text}")
    sees_online(bob, "<i>Ann</i>", "Bob")
    assert bob.locator("#messages img, #messages script, #online i").count() == 0
    assert bob.title() == "Longline chat"


def test_a_reload_loses_no_message_and_brings_everybody_back(enter: Open, chat: Service) -> None:
    ann, bob = enter("Ann"), enter("Bob")
    say(ann, "before")
    sees(bob, "Ann: before")
    first = chat.pids("chat")
    for page in (ann, bob):
        page.evaluate("for (let n = 1; n <= 100; n++) setTimeout(() => say(`${n}`), n * 20)")
    reloaded = chat.run("reload")
    assert reloaded.returncode == 0, reloaded.stderr
    wait_for(lambda: len(stored(chat)) == 201, "everything that was said is stored")
    assert chat.pids("chat") != first
    rows = stored(chat)
    for name in ("Ann", "Bob"):
        numbers = [row for row in rows[1:] if row.startswith(name)]
        assert numbers == [f"{name}: {n}" for n in range(1, 101)]
    for page in (ann, bob):
        sees_last(page, rows[-50:])
        sees_online(page, "Ann", "Bob")
        assert page.locator("#waiting li").count() == 0


def test_the_history_is_there_for_newcomers_after_a_reload(enter: Open, chat: Service) -> None:
    ann = enter("Ann")
    say(ann, "before")
    sees(ann, "Ann: before")
    assert chat.run("reload").returncode == 0
    connected(ann)
    say(ann, "after")
    bob = enter("Bob")
    sees(bob, "Ann: before", "Ann: after")


def test_messages_said_while_the_service_is_down_arrive_once_when_it_is_back(
    enter: Open, chat: Service
) -> None:
    ann, bob = enter("Ann"), enter("Bob")
    say(ann, "one")
    sees(bob, "Ann: one")
    chat.stop()
    wait_for(lambda: not ann.evaluate("ready"))
    say(ann, "two")
    say(ann, "three")
    assert ann.locator("#waiting li").count() == 2
    chat.start()
    for page in (ann, bob):
        sees(page, "Ann: one", "Ann: two", "Ann: three")
        sees_online(page, "Ann", "Bob")
    wait_for(lambda: ann.locator("#waiting li").count() == 0)


def test_the_page_forbids_foreign_code_and_the_service_foreign_pages(
    browser: Browser, chat: Service
) -> None:
    page = browser.new_page()
    answer = page.goto(f"http://127.0.0.1:{chat.port}/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert not re.search("unsafe|http:|https:|\\*", policy)
    page.goto("data:text/html,<title>elsewhere</title>")
    outcome = page.evaluate(
        "url => new Promise(done => { const socket = new WebSocket(url);"
        "socket.onopen = () => done('open'); socket.onclose = () => done('closed'); })",
        f"ws://127.0.0.1:{chat.port}/",
    )
    assert outcome == "closed"
    page.close()


def sees_last(page: Page, rows: list[str]) -> None:
    wait_for(lambda: said(page)[-len(rows) :] == rows, "the page shows the last messages")


def stored(chat: Service) -> list[str]:
    """Return all messages in the store, in their order."""
    with closing(sqlite3.connect(chat.directory / "data" / "messages.sqlite")) as db:
        rows = db.execute("SELECT name, text FROM messages ORDER BY number").fetchall()
    return [f"{name}: {text}" for name, text in rows]
