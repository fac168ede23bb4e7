"""Who is served when: order, Tasks, threads, results, failures."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from .connection_lab import Lab, on_loop


def echo(conn: Any, message: Any) -> Any:
    return message


@on_loop
async def test_answers_of_one_read_come_in_order(lab: Lab) -> None:
    peer = await lab.connect(on_message=echo)
    await peer.send(b"".join(b"%d\n" % n for n in range(500)))
    assert await peer.until(b"499\n") == b"".join(b"%d\n" % n for n in range(500))
    assert peer.conn.stats.messages_in == peer.host.stats.messages == 500


@on_loop
async def test_answers_of_one_read_leave_in_one_write(lab: Lab) -> None:
    peer = await lab.connect(on_message=echo)
    await peer.send(b"a\nb\nc\n")
    assert await peer.read() == b"a\nb\nc\n"


@on_loop
async def test_sends_of_one_turn_leave_in_one_write(lab: Lab) -> None:
    peer = await lab.connect()
    assert [peer.conn.send(word) for word in ("a", "b", "c")] == [True] * 3
    assert await peer.read() == b"a\nb\nc\n"


@on_loop
async def test_asynchronous_handlers_never_overlap_and_keep_the_order(lab: Lab) -> None:
    at_work = 0
    seen: list[str] = []

    async def slow(conn: Any, message: str) -> str:
        nonlocal at_work
        at_work += 1
        assert at_work == 1
        await asyncio.sleep(0.001 if message.endswith("0") else 0)
        seen.append(message)
        at_work -= 1
        return message

    peer = await lab.connect(on_message=slow)
    wanted = [str(n) for n in range(200)]
    await peer.send("".join(f"{word}\n" for word in wanted).encode())
    await peer.until(b"199\n")
    assert seen == wanted


@on_loop
async def test_on_connect_ends_before_the_first_message_begins(lab: Lab) -> None:
    steps: list[str] = []
    go = asyncio.Event()

    async def joined(conn: Any) -> str:
        await go.wait()
        steps.append("connect")
        return "welcome"

    peer = await lab.connect(on_connect=joined, on_message=lambda c, m: steps.append(m))
    await peer.send(b"first\n")
    await lab.until(lambda: peer.conn.bytes_read)
    go.set()
    assert await peer.until(b"\n") == b"welcome\n"
    await lab.until(lambda: len(steps) == 2)
    assert steps == ["connect", "first"]


@on_loop
async def test_plain_handler_between_asynchronous_ones_waits_its_turn(lab: Lab) -> None:
    seen: list[str] = []

    def mixed(conn: Any, message: str) -> Any:
        if message == "plain":
            seen.append("plain")
            return None

        async def later() -> None:
            await asyncio.sleep(0)
            seen.append(message)

        return later()

    peer = await lab.connect(on_message=mixed)
    await peer.send(b"a\nplain\nb\n")
    await lab.until(lambda: len(seen) == 3)
    assert seen == ["a", "plain", "b"]


@on_loop
async def test_reading_pauses_behind_max_pending_and_goes_on(lab: Lab) -> None:
    go = asyncio.Event()
    seen: list[str] = []

    async def held(conn: Any, message: str) -> None:
        await go.wait()
        seen.append(message)

    peer = await lab.connect(on_message=held, max_pending=4)
    for n in range(20):
        await peer.send(b"%d\n" % n)
        await lab.turns(3)
    await lab.until(lambda: not peer.conn._transport.is_reading())
    assert len(peer.conn._inbox) < 20
    go.set()
    await lab.until(lambda: len(seen) == 20)
    assert seen == [str(n) for n in range(20)]
    assert peer.conn._transport.is_reading()


@on_loop
async def test_concurrent_handlers_overlap_up_to_max_pending(lab: Lab) -> None:
    go = asyncio.Event()
    begun: list[str] = []

    async def held(conn: Any, message: str) -> str:
        begun.append(message)
        await go.wait()
        return message

    peer = await lab.connect(on_message=held, concurrent=True, max_pending=3)
    await peer.send(b"a\nb\nc\nd\ne\n")
    await lab.until(lambda: len(begun) == 3)
    await lab.turns()
    assert begun == ["a", "b", "c"]
    go.set()
    await lab.until(lambda: len(begun) == 5)
    assert sorted((await peer.exactly(10)).split()) == [b"a", b"b", b"c", b"d", b"e"]


@on_loop
async def test_pool_runs_plain_handlers_in_order_and_send_hops_back(lab: Lab) -> None:
    answers: list[Any] = []
    threads: set[int] = set()

    def blocking(conn: Any, message: str) -> str:
        threads.add(threading.get_ident())
        answers.append(conn.send(f"got {message}"))
        return message

    with ThreadPoolExecutor(4) as pool:
        peer = await lab.connect(on_message=blocking, executor=pool)
        await peer.send(b"a\nb\n")
        assert await peer.until(b"\nb\n") == b"got a\na\ngot b\nb\n"
    assert answers == [True, True]
    assert threading.get_ident() not in threads


@on_loop
async def test_send_in_a_foreign_thread_tells_the_truth(lab: Lab) -> None:
    peer = await lab.connect()
    assert await asyncio.to_thread(peer.conn.send, "x") is True
    assert await peer.until(b"\n") == b"x\n"
    await asyncio.to_thread(peer.conn.close)
    await peer.gone()
    assert await asyncio.to_thread(peer.conn.send, "y") is False
    other = await lab.connect()
    with pytest.raises(TypeError):
        await asyncio.to_thread(other.conn.send, 7)


@on_loop
async def test_bool_and_none_are_not_sent(lab: Lab) -> None:
    results = iter([None, True, False, "end"])
    peer = await lab.connect(on_message=lambda c, m: next(results))
    await peer.send(b"1\n2\n3\n4\n")
    assert await peer.until(b"\n") == b"end\n"


@on_loop
async def test_sending_lambda_sends_once(lab: Lab) -> None:
    peer = await lab.connect(on_message=lambda c, m: c.send(m))
    await peer.send(b"x\nlast\n")
    assert await peer.until(b"last\n") == b"x\nlast\n"


@on_loop
async def test_unsendable_result_is_a_logged_type_error(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []
    peer = await lab.connect(
        on_message=lambda c, m: object(), on_error=lambda c, e: errors.append(e)
    )
    await peer.send(b"x\n")
    assert await peer.rest() == b""
    assert isinstance(errors[0], TypeError)
    assert "a handler failed" in caplog.text


@pytest.mark.parametrize("asynchronous", [False, True])
@on_loop
async def test_c1_exception_closes_that_connection_only(
    lab: Lab, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []
    closed: list[Any] = []

    def fail(conn: Any, message: str) -> Any:
        if asynchronous:

            async def later() -> None:
                await asyncio.sleep(0)
                raise ValueError("boom")

            return later()
        raise ValueError("boom")

    peer = await lab.connect(
        on_message=fail,
        on_error=lambda c, e: errors.append(e),
        on_close=closed.append,
        name="chat",
    )
    await peer.send(b"x\ny\n")
    assert await peer.rest() == b""
    await peer.gone()
    assert [str(error) for error in errors] == ["boom"]
    assert closed == [peer.first]
    assert peer.host.stats.reasons == {"handler_error": 1}
    assert f"chat connection {peer.first.id}" in caplog.text
    assert "ValueError: boom" in caplog.text


@on_loop
async def test_failing_on_error_and_on_close_are_logged(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError(f"with {len(args)} arguments")

    async def fail_later(conn: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("in on_close")

    peer = await lab.connect(on_message=fail, on_error=fail, on_close=fail_later)
    await peer.send(b"x\n")
    await peer.gone()
    await lab.until(lambda: "in on_close" in caplog.text)
    assert peer.host.stats.handler_errors == 3


@on_loop
async def test_tracebacks_are_limited_then_counted(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    peer = await lab.connect()
    for _ in range(50):
        peer.host.report.failure(peer.conn, ValueError("x"))
    assert len(caplog.records) == 20
    peer.host.report.close()
    assert "30 more handler errors" in caplog.text


@on_loop
async def test_c4_flood_is_served_in_shares(lab: Lab) -> None:
    shares: list[int] = []
    seen = 0

    def count(conn: Any, message: str) -> None:
        nonlocal seen
        seen += 1

    peer = await lab.connect(on_message=count)
    peer.conn.data_received(b"x\n" * 1000)

    while seen < 1000:
        shares.append(seen)
        await asyncio.sleep(0)
    assert max(b - a for a, b in pairwise(shares)) <= 64


@on_loop
async def test_c4_asynchronous_handlers_that_never_wait_share_the_loop(lab: Lab) -> None:
    seen = 0
    most = 0

    async def count(conn: Any, message: str) -> None:
        nonlocal seen
        seen += 1

    peer = await lab.connect(on_message=count)
    peer.conn.data_received(b"x\n" * 1000)
    while seen < 1000:
        before = seen
        await asyncio.sleep(0)
        most = max(most, seen - before)
    assert most <= 130


@on_loop
async def test_handler_of_one_connection_overrides_the_workers(lab: Lab) -> None:
    peer = await lab.connect(on_message=echo)
    assert peer.conn.on_message is echo
    peer.conn.on_message = lambda c, m: m.upper()
    assert peer.host.callbacks.on_message is echo
    await peer.send(b"x\n")
    assert await peer.until(b"\n") == b"X\n"


async def awaits_what_was_cancelled(conn: Any, message: Any) -> None:
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    await waiting


def asks_what_was_cancelled(conn: Any, message: Any) -> None:
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    waiting.result()


async def cancels_itself(conn: Any, message: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def leaves(conn: Any, message: Any) -> None:
    raise SystemExit(3)


async def leaves_later(conn: Any, message: Any) -> None:
    await asyncio.sleep(0)
    raise SystemExit(3)


class _Odd(BaseException):
    """Neither an Exception nor one of those that Python knows."""


async def raises_something_odd(conn: Any, message: Any) -> None:
    raise _Odd


FAILING = [awaits_what_was_cancelled, asks_what_was_cancelled, cancels_itself, leaves,
           leaves_later, raises_something_odd]  # fmt: skip


@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("scheme", ["text", "http"])
@pytest.mark.parametrize("handler", FAILING)
@on_loop
async def test_whatever_ends_a_handler_is_reported_and_ends_its_connection_only(
    lab: Lab, handler: Any, scheme: str, concurrent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[BaseException] = []
    peer = await lab.connect(
        scheme,
        on_message=handler,
        concurrent=concurrent,
        on_error=lambda conn, error: errors.append(error),
    )
    await peer.send(b"x\n" if scheme == "text" else b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    said = await peer.rest()
    assert said.startswith(b"HTTP/1.1 500 ") if scheme == "http" else said == b""
    peer.half_close()
    await peer.gone()
    assert peer.host.stats.reasons == {"handler_error": 1}
    assert peer.host.stats.handler_errors == len(errors) == 1
    (record,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[1] is errors[0]
    if "cancel" in handler.__name__ and handler is not asks_what_was_cancelled:
        assert str(errors[0]) == "the handler was cancelled"
    # The loop is alive, and so is everybody else.
    other = await lab.connect(on_message=echo)
    await other.send(b"y\n")
    assert await other.until(b"\n") == b"y\n"


@on_loop
async def test_system_exit_in_a_thread_ends_its_connection_only(lab: Lab) -> None:
    with ThreadPoolExecutor(1) as executor:
        peer = await lab.connect(on_message=leaves, executor=executor)
        await peer.send(b"x\n")
        assert await peer.rest() == b""
        assert peer.host.stats.handler_errors == 1


@pytest.mark.parametrize("handler", [one for one in FAILING if one is not cancels_itself])
@on_loop
async def test_whatever_ends_a_handler_outside_the_order_is_counted(
    lab: Lab, handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await lab.connect(on_close=lambda conn: handler(conn, ""))
    peer.close()
    await lab.until(lambda: peer.host.stats.handler_errors)
    assert "a handler failed" in caplog.text


@on_loop
async def test_handler_that_is_cancelled_with_its_connection_is_no_failure(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def waits(conn: Any, message: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(message)

    peer = await lab.connect(on_message=waits, cancel_on_close=True)
    await peer.send(b"x\n")
    await lab.until(lambda: peer.conn.stats.messages_in)
    await lab.turns()
    peer.close()
    await lab.until(lambda: ended)
    await lab.turns()
    assert peer.host.stats.handler_errors == 0
    assert caplog.text == ""


@pytest.mark.parametrize("later", [False, True])
def test_keyboard_interrupt_of_a_handler_ends_the_loop(lab: Lab, later: bool) -> None:
    def interrupted(conn: Any, message: str) -> Any:
        async def work() -> None:
            raise KeyboardInterrupt

        if later:
            return work()
        raise KeyboardInterrupt

    async def talk() -> None:
        peer = await lab.connect(on_message=interrupted)
        await peer.send(b"x\n")
        await peer.gone()

    talking = lab.loop.create_task(talk())
    with pytest.raises(KeyboardInterrupt):
        lab.loop.run_until_complete(talking)
    talking.cancel()
    lab.complaints.clear()


@on_loop
async def test_handlers_that_return_at_once_or_wait_keep_the_order_across_batches(
    lab: Lab,
) -> None:
    seen: list[int] = []

    async def sometimes(conn: Any, message: str) -> None:
        number = int(message)
        if number % 7 == 0:
            await asyncio.sleep(0)
        seen.append(number)

    peer = await lab.connect(on_message=sometimes)
    await peer.send("".join(f"{n}\n" for n in range(1000)).encode())
    await lab.until(lambda: len(seen) == 1000)
    assert seen == list(range(1000))


@on_loop
async def test_a_stop_iteration_in_the_pool_is_a_failure_like_any_other(lab: Lab) -> None:
    def empty(conn: Any, text: str) -> None:
        next(iter(()))

    with ThreadPoolExecutor(1) as executor:
        peer = await lab.connect(on_message=empty, executor=executor)
        await peer.send(b"x\n")
        await peer.gone()
    assert peer.host.stats.reasons == {"handler_error": 1}
