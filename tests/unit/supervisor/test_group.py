"""Slots, groups and the pause before a crashed process is started again."""

from __future__ import annotations

import pytest

from longline.supervisor.group import Backoff, Group, Slot
from longline.supervisor.manifest import WorkerSpec

from .master_lab import Lab, worker


def test_p1_five_exits_are_no_crash_loop() -> None:
    backoff = Backoff()
    assert [backoff.exited(float(second)) for second in range(5)] == [0.0] * 5
    assert not backoff.looping


def test_p1_from_the_sixth_exit_on_the_pause_doubles_up_to_ten_seconds() -> None:
    backoff = Backoff()
    delays = [backoff.exited(0.0) for _ in range(20)]
    assert delays[:5] == [0.0] * 5
    assert delays[5:9] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert delays[-1] == 10.0
    assert backoff.looping


def test_p1_exits_that_are_far_apart_never_loop() -> None:
    backoff = Backoff()
    assert {backoff.exited(index * 10.1) for index in range(50)} == {0.0}


def test_p1_a_quiet_window_ends_the_loop() -> None:
    backoff = Backoff()
    for _ in range(8):
        delay = backoff.exited(0.0)
    backoff.calm(Backoff.WINDOW + delay)
    assert backoff.looping
    backoff.calm(Backoff.WINDOW + delay + 0.1)
    assert not backoff.looping
    assert backoff.exited(100.0) == 0.0


def test_p1_what_is_remembered_of_exits_is_bounded() -> None:
    backoff = Backoff()
    now = 0.0
    for _ in range(10_000):
        now += backoff.exited(now)
    assert len(backoff._exits) < 100


def spec(**more: object) -> WorkerSpec:
    return WorkerSpec.from_json(worker(**more))  # type: ignore[arg-type]


def test_a_slot_that_leaves_the_count_keeps_its_queue(lab: Lab) -> None:
    lab.start(worker(count=3))
    group = lab.master.groups["w"]
    first, second = group.slots[1], group.slots[2]
    group.retire(second)
    group.retire(first)
    assert group.removed == [first, second]
    assert [slot.id for slot in group.sockets()] == [0, 1, 2]


def test_a_slot_without_a_queue_is_forgotten() -> None:
    group = Group(spec(listen=None), None)  # type: ignore[arg-type]
    group.slots = [Slot(0, None), Slot(1, None)]
    group.retire(group.slots[1])
    assert group.removed == []


def test_the_address_shows_the_port_that_was_picked(lab: Lab) -> None:
    lab.start(worker(), worker("timer", None))
    sock = lab.master.groups["w"].slots[0].sock
    assert sock is not None
    assert lab.master.groups["w"].listen == f"tcp://127.0.0.1:{sock.getsockname()[1]}"
    assert lab.master.groups["timer"].listen is None


def test_p1_a_crash_loop_backs_off_and_leaves_the_other_groups_alone(lab: Lab) -> None:
    lab.start(worker("a"), worker("b"))
    other = lab.at(0, "b")
    started = 0
    while lab.master.groups["a"].backoff._delay < 10.0:
        lab.until(lambda: lab.live("a"))
        started += 1
        lab.kill(lab.at(0, "a").pid)
        lab.turn(2)
    assert started < 20
    assert lab.at(0, "b") is other
    assert "next try in 10 s" in lab.text()
    assert lab.master.groups["a"].exits == {"signal 9": started}
    lab.turn(100)
    assert lab.live("a") == []
    lab.until(lambda: lab.live("a"))


def test_p6_a_crashed_process_is_back_at_once(lab: Lab) -> None:
    lab.start(worker(count=2))
    lab.kill(lab.at(0).pid)
    lab.turn(3)
    assert lab.at(0).serving


def test_a_crash_loop_ends_the_service_when_that_was_asked_for(lab: Lab) -> None:
    lab.settings.fail_fast = True
    lab.start(worker("a"), worker("b"))
    for _ in range(6):
        lab.until(lambda: lab.live("a"))
        lab.kill(lab.at(0, "a").pid)
        lab.turn(2)
    assert lab.master.shutdown is not None
    assert lab.master.shutdown.code == 1
