"""The health of a worker process, judged by its beats."""

from __future__ import annotations

import signal

import pytest

from longline.supervisor.child import checked_stats, describe_status

from .master_lab import Lab, PlayedWorker, worker


def state(lab: Lab, played: PlayedWorker) -> str:
    (one,) = [c for c in lab.master.children if c.pid == played.pid]
    return str(one.state)


@pytest.fixture
def silent(lab: Lab) -> PlayedWorker:
    """A worker that has just gone silent."""
    lab.start(worker(count=1))
    lab.turn()
    played = lab.at(0)
    played.beating = False
    return played


def test_p3_a_silent_worker_is_busy_then_hung_then_killed(lab: Lab, silent: PlayedWorker) -> None:
    lab.turn(42)
    assert state(lab, silent) == "busy"
    lab.turn(55, seconds=1.0)
    assert lab.signals == []
    lab.turn(6, seconds=1.0)
    assert state(lab, silent) == "hung"
    assert lab.signals == [(silent.pid, signal.SIGABRT)]
    lab.turn(7, seconds=1.0)
    assert lab.signals[1:] == [(silent.pid, signal.SIGKILL)]
    lab.until(lambda: lab.live() and lab.at(0) is not silent)
    assert "is hung" in lab.text()


def test_p3_a_beat_ends_the_suspicion(lab: Lab, silent: PlayedWorker) -> None:
    lab.turn(50, seconds=1.0)
    silent.beating = True
    lab.turn(3)
    assert state(lab, silent) == "ready"
    silent.beating = False
    lab.turn(50, seconds=1.0)
    assert lab.signals == []


def test_p3_a_stopped_worker_is_never_hung_and_its_clock_starts_anew(
    lab: Lab, silent: PlayedWorker
) -> None:
    lab.states[silent.pid] = "T"
    lab.turn(300, seconds=1.0)
    assert state(lab, silent) == "stopped"
    lab.states.clear()
    lab.turn(50, seconds=1.0)
    assert lab.signals == []
    lab.turn(15, seconds=1.0)
    assert lab.signals[:1] == [(silent.pid, signal.SIGABRT)]


def test_p3_a_debugger_counts_as_stopped(lab: Lab, silent: PlayedWorker) -> None:
    lab.states[silent.pid] = "t"
    lab.turn(300, seconds=1.0)
    assert lab.signals == []


def test_p3_without_a_hang_timeout_a_worker_may_be_silent_for_ever(lab: Lab) -> None:
    lab.start(worker(hang_timeout=None))
    lab.at(0).beating = False
    lab.turn(500, seconds=1.0)
    assert state(lab, lab.at(0)) == "busy"
    assert lab.signals == []


@pytest.mark.parametrize("stall", [30.0, 300.0, 86_400.0])
def test_e4_a_master_that_was_stopped_blames_nobody(lab: Lab, stall: float) -> None:
    lab.start(worker(count=3))
    pids = {w.pid for w in lab.live()}
    lab.turn(5)
    lab.now += stall
    for played in lab.live():
        played.beating = False
    lab.turn(30)
    assert lab.signals == []
    assert {state(lab, w) for w in lab.live()} == {"ready"}
    assert {w.pid for w in lab.live()} == pids


def test_a_worker_that_breaks_its_channel_is_replaced(lab: Lab) -> None:
    lab.start(worker())
    lab.turn()
    played = lab.at(0)
    played.channel.sock.send(b"\xff" * 100)
    played.channel = type(played.channel)(played.channel.sock)
    played.pump = lambda: None  # type: ignore[method-assign]  # it lives on
    lab.until(lambda: (played.pid, signal.SIGKILL) in lab.signals)
    lab.until(lambda: lab.live() and lab.at(0).serving)


def test_a_worker_that_does_not_drain_is_killed_after_its_deadline(lab: Lab) -> None:
    lab.start(worker(drain_timeout=3))
    stubborn = lab.at(0)
    stubborn.leaves = False
    lab.reload()
    assert stubborn.orders[-1]["timeout"] == 3
    lab.turn(55)
    assert lab.signals == []
    lab.turn(60)
    assert lab.signals == [(stubborn.pid, signal.SIGKILL)]
    assert "missed its deadline" in lab.text()


def test_a_reload_keeps_grace_and_spread_within_the_deadline(lab: Lab) -> None:
    lab.start(worker(drain_timeout=3, drain_spread=10, drain_grace=2))
    old = lab.at(0)
    old.leaves = False
    lab.reload()
    assert old.orders[-1] == {
        "do": "drain", "reason": "reload", "timeout": 3, "grace": 1.5, "spread": 1.5,
        "last": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "text"), [(0, "exit 0"), (3 << 8, "exit 3"), (9, "signal 9"), (-1, "unknown status"),
                         (0x137F, "unknown status"), (10**30, "unknown status")]
)  # fmt: skip
def test_a_wait_status_is_told_as_people_say_it(status: int, text: str) -> None:
    assert describe_status(status) == text


def test_figures_of_a_beat_are_bounded_numbers() -> None:
    hostile = {
        "connections": 3, "rate": 10**4000, "lag": float("nan"), "timers": True, "messages": "7",
        "accepted": float("inf"), "other": 5, "send_failures": [[[]]],
        "reasons": {"x" * 500: 1, "y": [], "z": 2},
    }  # fmt: skip
    assert checked_stats(hostile) == {
        "connections": 3, "reasons": {"x" * 100: 1, "z": 2}
    }  # fmt: skip
    many = {"reasons": {str(number): 1 for number in range(10_000)}}
    assert len(checked_stats(many)["reasons"]) == 100
