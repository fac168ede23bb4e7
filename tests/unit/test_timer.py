"""Timers: series without drift, overlap or surprise."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from longline import timer
from longline.loop import new_event_loop
from longline.timer import Timer, _next_due

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    loop = new_event_loop(request.param)

    def in_loop(work: Coroutine[Any, Any, None]) -> None:
        loop.run_until_complete(asyncio.wait_for(work, 20))

    yield in_loop
    timer.cancel_all()
    loop.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the callbacks have no event to set
        await asyncio.sleep(0.001)


def test_every_runs_again_and_again_with_its_arguments(run: Any) -> None:
    async def main() -> None:
        seen: list[Any] = []
        done = asyncio.Event()

        def tick(*args: Any) -> None:
            seen.append(args)
            if len(seen) == 3:
                done.set()

        made = Timer.every(0.01, tick, 1, "a")
        assert timer.active_timers() == 1
        await done.wait()
        assert seen == [(1, "a")] * 3
        assert made.cancel() is True
        assert made.cancel() is False
        assert timer.active_timers() == 0

    run(main())


def test_after_runs_once_and_is_gone(run: Any) -> None:
    async def main() -> None:
        done = asyncio.Event()
        made = Timer.after(0.01, done.set)
        assert made.active
        await done.wait()
        assert not made.active
        assert made.cancel() is False

    run(main())


def test_cancel_inside_its_own_callback(run: Any) -> None:
    async def main() -> None:
        seen: list[bool] = []
        made = Timer.every(0.01, lambda: seen.append(made.cancel()))
        done = asyncio.Event()
        Timer.after(0.06, done.set)
        await done.wait()
        assert seen == [True]

    run(main())


def test_asynchronous_cancel_inside_its_own_callback_finishes_the_run(run: Any) -> None:
    async def main() -> None:
        done = asyncio.Event()

        async def tick() -> None:
            made.cancel()
            await asyncio.sleep(0)
            done.set()

        made = Timer.every(0.01, tick)
        await done.wait()

    run(main())


def test_asynchronous_runs_never_overlap(run: Any) -> None:
    async def main() -> None:
        at_work = most = runs = 0

        async def tick() -> None:
            nonlocal at_work, most, runs
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.03)
            at_work -= 1
            runs += 1

        Timer.every(0.005, tick)
        await until(lambda: runs >= 3)
        assert most == 1

    run(main())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_exception_is_logged_and_the_timer_goes_on(
    run: Any, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        seen: list[int] = []

        def fail() -> Any:
            seen.append(1)
            if asynchronous:

                async def later() -> None:
                    raise ValueError("boom")

                return later()
            raise ValueError("boom")

        Timer.every(0.01, fail)
        await until(lambda: len(seen) >= 2)
        await asyncio.sleep(0)

    run(main())
    assert "boom" in caplog.text
    assert caplog.records[0].name == "longline"


def test_pause_holds_what_repeats_and_resume_goes_on(run: Any) -> None:
    async def main() -> None:
        seen: list[int] = []
        timer.pause_repeating()
        Timer.every(0.01, seen.append, 1)
        Timer.after(0.05, seen.append, 2)
        # A one-shot timer belongs to work that is finished first: it runs all the same.
        await until(lambda: 2 in seen)
        assert seen == [2]
        timer.resume_repeating()
        await until(lambda: 1 in seen)

    run(main())


def test_a_leaving_process_keeps_its_one_shot_timers(run: Any) -> None:
    async def main() -> None:
        seen: list[int] = []
        Timer.every(0.01, seen.append, 1)
        Timer.after(0.05, seen.append, 2)
        timer.cancel_repeating()
        await until(lambda: 2 in seen)
        assert seen == [2]

    run(main())


def test_cancel_all_leaves_none(run: Any) -> None:
    async def main() -> None:
        for _ in range(1000):
            Timer.every(60, print)
        assert timer.active_timers() == 1000
        timer.cancel_all()
        assert timer.active_timers() == 0

    run(main())


@pytest.mark.parametrize("interval", [0, -1, math.nan, math.inf, True, "1", None])
def test_interval_that_is_none_is_refused(run: Any, interval: Any) -> None:
    async def main() -> None:
        for make in (Timer.every, Timer.after):
            with pytest.raises(ValueError, match=r"must be|is a number"):
                make(interval, print)

    run(main())


def test_no_running_loop_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError):
        Timer.every(1, print)
    assert timer.active_timers() == 0


@pytest.mark.parametrize(
    ("due", "interval", "now", "following"),
    [
        (10.0, 1.0, 10.0, 11.0),
        (10.0, 1.0, 10.9, 11.0),
        (10.0, 1.0, 13.5, 14.0),
        (10.0, 1.0, 14.0, 15.0),
    ],
)
def test_lateness_does_not_accumulate_and_missed_periods_are_skipped(
    due: float, interval: float, now: float, following: float
) -> None:
    assert _next_due(due, interval, now) == following


def test_tiny_interval_beside_a_large_clock_stays_ahead() -> None:
    assert _next_due(1e9, 1e-12, 1e9 + 5) >= 1e9 + 5
