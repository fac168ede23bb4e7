"""The wheel: coarse, never early, idle when empty."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from longline.connection.deadline import NEVER, DeadlineWheel

from .connection_lab import Lab, on_loop

if TYPE_CHECKING:
    import pytest


class Entry:
    def __init__(self, wheel: DeadlineWheel, *following: float) -> None:
        self._armed = 0
        self.wheel = wheel
        self.following = list(following)
        self.calls: list[float] = []

    def on_deadline(self, now: float) -> float:
        self.calls.append(now)
        return now + self.following.pop(0) if self.following else NEVER


@on_loop
async def test_deadline_is_never_early(lab: Lab) -> None:
    wheel = DeadlineWheel(lab.loop, 0.01)
    due = [lab.loop.time() + n * 0.007 for n in range(1, 20)]
    entries = [Entry(wheel) for _ in due]
    for entry, when in zip(entries, due, strict=True):
        wheel.arm(entry, when)
    assert len(wheel) == len(due)
    await lab.until(lambda: all(entry.calls for entry in entries))
    for entry, when in zip(entries, due, strict=True):
        assert entry.calls[0] >= when - 1e-6
    assert not wheel.running


@on_loop
async def test_later_deadline_is_free_and_earlier_one_moves(lab: Lab) -> None:
    wheel = DeadlineWheel(lab.loop, 0.01)
    entry = Entry(wheel)
    now = lab.loop.time()
    wheel.arm(entry, now + 100)
    late = entry._armed
    wheel.arm(entry, now + 200)
    assert entry._armed == late
    wheel.arm(entry, now + 0.02)
    assert len(wheel) == 1
    await lab.until(lambda: entry.calls)
    assert entry.calls[0] >= now + 0.02
    assert not wheel.running


@on_loop
async def test_entry_is_called_again_when_it_says_so(lab: Lab) -> None:
    wheel = DeadlineWheel(lab.loop, 0.01)
    entry = Entry(wheel, 0.0, 0.03)
    wheel.arm(entry, lab.loop.time() + 0.01)
    await lab.until(lambda: len(entry.calls) == 3)
    assert entry.calls[2] - entry.calls[1] >= 0.03 - 1e-6


@on_loop
async def test_removing_the_last_entry_stops_the_timer(lab: Lab) -> None:
    wheel = DeadlineWheel(lab.loop)
    entries = [Entry(wheel) for _ in range(3)]
    for entry in entries:
        wheel.arm(entry, lab.loop.time() + 1)
    for entry in entries:
        assert wheel.running
        wheel.remove(entry)
        wheel.remove(entry)
    assert not wheel.running
    assert len(wheel) == 0
    wheel.arm(entries[0], NEVER)
    assert not wheel.running


@on_loop
async def test_lag_is_told_to_the_entries_of_a_late_bucket(lab: Lab) -> None:
    wheel = DeadlineWheel(lab.loop, 0.01)
    lags: list[float] = []

    class Late(Entry):
        def on_deadline(self, now: float) -> float:
            lags.append(self.wheel.lag)
            return NEVER

    wheel.arm(Late(wheel), lab.loop.time() + 0.01)
    time.sleep(0.2)  # noqa: ASYNC251 - a handler that blocks the loop is what this is about
    await lab.until(lambda: lags)
    assert lags[0] >= 0.15


@on_loop
async def test_failing_entry_harms_no_other(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    wheel = DeadlineWheel(lab.loop, 0.01)

    class Bad(Entry):
        def on_deadline(self, now: float) -> float:
            raise ValueError("bad entry")

    when = lab.loop.time() + 0.01
    good = Entry(wheel)
    wheel.arm(Bad(wheel), when)
    wheel.arm(good, when)
    await lab.until(lambda: good.calls)
    assert "bad entry" in caplog.text
