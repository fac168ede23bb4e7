"""No client waits on a dead slot: its queue is read by a sibling until it is served again."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .master_lab import Lab, worker


def readers(lab: Lab, slot: int) -> int:
    """How many processes that are well read the slot's queue."""
    well = [w for w in lab.live() if w.beating and w.serving and not w.draining]
    return sum(w.slot == slot or slot in w.lent for w in well)


def stop(lab: Lab, slot: int) -> None:
    """Stop a process as SIGSTOP does."""
    found = lab.at(slot)
    found.beating = False
    lab.states[found.pid] = "T"


def test_e3_a_stopped_process_lends_its_queue_and_is_not_killed(lab: Lab) -> None:
    lab.start(worker(count=2))
    stop(lab, 0)
    lab.turn(60)
    assert list(lab.at(1).lent) == [0]
    lab.turn(90, seconds=1.0)
    assert lab.at(0).alive
    assert str(lab.master.groups["w"].slots[0].current.state) == "stopped"  # type: ignore[union-attr]
    lab.at(0).beating = True
    lab.states.clear()
    lab.turn(5)
    assert lab.at(1).lent == {}
    assert lab.signals == []


def test_a_crashed_process_that_is_back_at_once_lends_nothing(lab: Lab) -> None:
    lab.start(worker(count=2))
    lab.kill(lab.at(0).pid)
    lab.turn(20)
    assert all(order["do"] != "lend" for order in lab.at(1).orders)


def test_a_slot_that_backs_off_is_served_by_a_sibling(lab: Lab) -> None:
    lab.start(worker(count=2))
    for _ in range(9):
        lab.until(lambda: [w for w in lab.live() if w.slot == 0])
        lab.kill(lab.at(0).pid)
        lab.turn(2)
    lab.turn(5)
    assert readers(lab, 0) == 1
    assert list(lab.at(1).lent) == [0]


def test_the_borrower_that_dies_is_replaced_by_another(lab: Lab) -> None:
    lab.start(worker(count=3))
    stop(lab, 0)
    lab.turn(60)
    (borrower,) = [w for w in lab.live() if 0 in w.lent]
    lab.kill(borrower.pid)
    lab.turn(20)
    (second,) = [w for w in lab.live() if 0 in w.lent]
    assert second.alive
    assert second is not borrower


def test_the_borrower_that_stops_is_replaced_by_another(lab: Lab) -> None:
    lab.start(worker(count=3))
    stop(lab, 0)
    lab.turn(60)
    (borrower,) = [w for w in lab.live() if 0 in w.lent]
    stop(lab, borrower.slot)
    lab.turn(60)
    third = ({0, 1, 2} - {0, borrower.slot}).pop()
    assert sorted(lab.at(third).lent) == sorted({0, borrower.slot})


def test_loans_are_spread_over_the_siblings(lab: Lab) -> None:
    lab.start(worker(count=4))
    stop(lab, 0)
    stop(lab, 1)
    lab.turn(60)
    assert len(lab.at(2).lent) == len(lab.at(3).lent) == 1


def test_a_removed_queue_is_lent_on_when_its_borrower_is_replaced(lab: Lab) -> None:
    lab.start(worker(count=3))
    lab.reload(worker(count=2))
    for _ in range(3):
        lab.reload()
        lab.turn(10)
        assert readers(lab, 2) == 1


def test_one_shared_socket_is_never_lent(lab: Lab) -> None:
    lab.start(worker(count=2, reuse_port=False))
    stop(lab, 0)
    lab.turn(100)
    assert lab.at(1).orders == []


def test_without_a_sibling_nothing_is_lent(lab: Lab) -> None:
    lab.start(worker(count=1))
    stop(lab, 0)
    lab.turn(60)
    assert lab.at(0).orders == []


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["stop", "continue", "kill", "reload", "count"]),
        st.integers(0, 3),
        st.integers(0, 60),
    ),
    max_size=8,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS)
def test_no_queue_stays_unread_while_a_sibling_is_well(
    events: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        lab = Lab(monkeypatch, tmp_path_factory.mktemp("lab"))
        try:
            lab.start(worker(count=4))
            for event, number, turns in events:
                _happen(lab, event, number)
                lab.turn(turns)
            # Longer than a missed beat and the pause before a loan together.
            lab.turn(70)
            slots = [slot.id for slot in lab.master.groups["w"].sockets()]
            if any(w.beating and w.serving and not w.draining for w in lab.live()):
                assert {slot: readers(lab, slot) for slot in slots} == dict.fromkeys(slots, 1)
        finally:
            lab.close()


def _happen(lab: Lab, event: str, number: int) -> None:
    here = [w for w in lab.live() if w.slot == number and not w.draining]
    if event == "reload":
        lab.master.reload()
    elif event == "count" and lab.state == "running":
        lab.reload(worker(count=number + 1))
    for played in here:
        if event == "stop":
            played.beating = False
            lab.states[played.pid] = "T"
        elif event == "continue":
            played.beating = True
            lab.states.pop(played.pid, None)
        elif event == "kill":
            lab.kill(played.pid)
