"""Starts and reloads: what changes, what stays when they fail, and no socket lost on the way."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longline.supervisor.generation import TemplateState
from longline.supervisor.nursery import Nursery

from .master_lab import Lab, manifest, worker

if TYPE_CHECKING:
    from pathlib import Path

    from longline.supervisor.group import Group


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def port(group: Group) -> int:
    sock = group.slots[0].sock
    assert sock is not None
    return int(sock.getsockname()[1])


def connects(number: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", number)) == 0


def generations(lab: Lab, name: str = "w") -> list[int]:
    serving = [w for w in lab.live(name) if not w.draining]
    return [w.generation for w in sorted(serving, key=lambda w: w.slot)]


def test_a_start_gives_every_slot_a_ready_process_and_a_socket(lab: Lab) -> None:
    lab.start(worker(count=3), worker("timer", None, count=2))
    assert [len(group.slots) for group in lab.master.groups.values()] == [3, 2]
    assert sorted(w.slot for w in lab.live()) == [0, 1, 2]
    assert [len(w.sockets) for w in lab.live("timer")] == [0, 0]
    assert "started: 5 workers ready" in lab.text()


def test_a_reload_replaces_each_process_and_keeps_its_socket(lab: Lab) -> None:
    lab.start(worker(count=3))
    sockets = [slot.sock for slot in lab.master.groups["w"].slots]
    lab.reload()
    assert generations(lab) == [2, 2, 2]
    assert [slot.sock for slot in lab.master.groups["w"].slots] == sockets
    assert len(lab.live()) == 3


def test_p12_one_slot_is_replaced_at_a_time_and_the_new_one_is_ready_first(lab: Lab) -> None:
    lab.start(worker(count=3))
    lab.ready_by_itself = False
    lab.master.reload()
    for replaced in range(3):
        lab.until(lambda: len(lab.live()) == 4)
        newest = max(lab.live(), key=lambda w: w.pid)
        old = [w for w in lab.live() if w.slot == newest.slot and w is not newest]
        assert not old[0].draining
        assert old[0].orders[-1] == {"do": "quiesce"}
        lab.turn(20)
        assert len(lab.live()) == 4, f"after {replaced} only one is in change"
        newest.ready()
        lab.turn(2)
        assert old[0].draining
    lab.until(lambda: lab.state == "running")
    assert generations(lab) == [2, 2, 2]


def test_more_slots_join_the_group_of_sockets(lab: Lab) -> None:
    lab.start(worker(count=1))
    before = port(lab.master.groups["w"])
    lab.reload(worker(count=4))
    group = lab.master.groups["w"]
    assert lab.reloaded
    assert [slot.id for slot in group.slots] == [0, 1, 2, 3]
    assert {slot.sock.getsockname()[1] for slot in group.slots if slot.sock} == {before}


def test_p13_fewer_slots_leave_their_queues_served(lab: Lab) -> None:
    lab.start(worker(count=4))
    lab.reload(worker(count=1))
    group = lab.master.groups["w"]
    assert [slot.id for slot in group.removed] == [1, 2, 3]
    lab.until(lambda: sorted(lab.at(0).lent) == [1, 2, 3])
    assert len(lab.live()) == 1


def test_slots_that_come_back_take_up_their_queues(lab: Lab) -> None:
    lab.start(worker(count=4))
    sockets = [slot.sock for slot in lab.master.groups["w"].slots]
    lab.reload(worker(count=2))
    lab.reload(worker(count=5))
    group = lab.master.groups["w"]
    assert [slot.sock for slot in group.slots][:4] == sockets
    assert group.slots[4].sock is not None
    assert group.removed == []
    lab.until(lambda: not any(w.lent for w in lab.live()))


def test_a_new_address_replaces_the_sockets_and_closes_the_old_port(lab: Lab) -> None:
    first, second = free_port(), free_port()
    lab.start(worker(listen=f"tcp://127.0.0.1:{first}", count=2))
    lab.reload(worker(listen=f"tcp://127.0.0.1:{second}", count=2))
    assert lab.reloaded
    assert port(lab.master.groups["w"]) == second
    lab.until(lambda: not connects(first))
    assert connects(second)


@pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 4), (3, 2)])
def test_address_and_count_may_change_together(lab: Lab, before: int, after: int) -> None:
    first, second = free_port(), free_port()
    lab.start(worker(listen=f"tcp://127.0.0.1:{first}", count=before))
    lab.reload(worker(listen=f"tcp://127.0.0.1:{second}", count=after))
    group = lab.master.groups["w"]
    assert lab.reloaded
    assert {slot.sock.getsockname()[1] for slot in group.slots if slot.sock} == {second}
    assert len(lab.live()) == after
    assert group.removed == []
    lab.turn(20)
    assert not connects(first)


def test_slots_that_were_removed_do_not_come_back_at_another_address(lab: Lab) -> None:
    first, second = free_port(), free_port()
    lab.start(worker(listen=f"tcp://127.0.0.1:{first}", count=4))
    lab.reload(worker(listen=f"tcp://127.0.0.1:{first}", count=2))
    lab.reload(worker(listen=f"tcp://127.0.0.1:{second}", count=4))
    ports = {slot.sock.getsockname()[1] for slot in lab.master.groups["w"].slots if slot.sock}
    assert ports == {second}
    lab.turn(20)
    assert not connects(first)


def test_a_failed_change_of_address_keeps_the_old_port_and_closes_the_new_one(lab: Lab) -> None:
    first, second = free_port(), free_port()
    lab.start(worker(listen=f"tcp://127.0.0.1:{first}", count=2))
    lab.broken.add(("w", 1, 2))
    lab.reload(worker(listen=f"tcp://127.0.0.1:{second}", count=3))
    assert not lab.reloaded
    group = lab.master.groups["w"]
    assert group.spec.count == 2
    assert port(group) == first
    lab.until(lambda: generations(lab) == [1, 1] and len(lab.live()) == 2)
    assert connects(first)
    assert not connects(second)
    assert group.removed == []


@pytest.mark.parametrize(("name", "scheme"), [("other", "tcp"), ("w", "text"), ("other", "text")])
def test_a_worker_may_change_name_and_scheme_on_its_port(lab: Lab, name: str, scheme: str) -> None:
    number = free_port()
    lab.start(worker(listen=f"tcp://127.0.0.1:{number}", count=2))
    lab.reload(worker(name, f"{scheme}://127.0.0.1:{number}", count=3))
    assert lab.reloaded, lab.text()
    assert list(lab.master.groups) == [name]
    assert generations(lab, name) == [2, 2, 2]
    assert connects(number)


def test_two_workers_may_swap_their_ports(lab: Lab) -> None:
    one, two = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    lab.start(worker("a", one), worker("b", two))
    lab.reload(worker("a", two), worker("b", one))
    assert lab.reloaded, lab.text()
    assert {g.name: g.listen for g in lab.master.groups.values()} == {"a": two, "b": one}


def test_one_shared_socket_grows_and_shrinks(lab: Lab) -> None:
    lab.start(worker(reuse_port=False, count=1))
    for count in (3, 2, 4, 1):
        lab.reload(worker(reuse_port=False, count=count))
        assert lab.reloaded, lab.text()
        assert len(lab.live()) == count
    assert {len(w.sockets) for w in lab.live()} == {1}


def test_added_and_removed_workers(lab: Lab) -> None:
    lab.start(worker("a"), worker("b"))
    lab.reload(worker("b"), worker("c"))
    assert sorted(lab.master.groups) == ["b", "c"]
    assert lab.live("a") == []
    assert len(lab.live("c")) == 1


def test_a_worker_that_is_not_reloadable_keeps_its_process_and_hears_of_the_reload(
    lab: Lab,
) -> None:
    lab.start(worker("a", reloadable=False), worker("b"))
    kept = lab.at(0, "a")
    lab.reload()
    assert lab.at(0, "a") is kept
    lab.turn(2)
    assert {"do": "reload"} in kept.orders
    lab.kill(kept.pid)
    lab.until(lambda: lab.live("a"))
    assert lab.at(0, "a").generation == 2


def test_a_worker_without_a_listener_stops_before_the_new_one_starts(lab: Lab) -> None:
    lab.start(worker("timer", None))
    old = lab.at(0, "timer")
    old.leaves = False
    lab.master.reload()
    lab.until(lambda: old.draining)
    lab.turn(20)
    assert lab.live("timer") == [old]
    lab.kill(old.pid, 0)
    lab.until(lambda: lab.state == "running")
    assert generations(lab, "timer") == [2]


def test_the_address_of_a_worker_that_is_not_reloadable_takes_a_restart(lab: Lab) -> None:
    lab.start(worker(reloadable=False))
    lab.reload(worker(listen=f"tcp://127.0.0.1:{free_port()}", reloadable=False))
    assert not lab.reloaded
    assert "a restart alone changes its address" in lab.text()
    assert generations(lab) == [1]


FAILURES: dict[str, Any] = {
    "no-manifest": None,
    "no-workers": manifest(),
    "no-application": {"workers": [worker()]},
    "application-is-a-list": manifest(worker(), application=[]),
    "no-address": manifest(worker(listen="nonsense")),
    "port-in-use": manifest(worker(), worker("x", "tcp://127.0.0.1:1"), worker("y", "tcp://192.0.2.1:0")),
    "backlog": manifest(worker("x", backlog=2**40)),
    "huge": manifest(worker(stop_timeout=10**400)),
}  # fmt: skip


@pytest.mark.parametrize("bad", FAILURES.values(), ids=list(FAILURES))
def test_e17_a_manifest_that_cannot_be_changes_nothing(lab: Lab, bad: Any) -> None:
    lab.start(worker(count=2))
    pids = {w.pid for w in lab.live()}
    lab.manifest = bad
    lab.reload()
    assert not lab.reloaded
    assert {w.pid for w in lab.live()} == pids
    assert "the reload failed" in lab.text()
    assert lab.state == "running"
    lab.turn(5)
    assert [g.number for g in lab.master._nursery.generations] == [1]


def test_a_script_that_fails_says_why_and_changes_nothing(lab: Lab) -> None:
    lab.start(worker(count=2))
    lab.loads_by_itself = False
    lab.master.reload()
    lab.until(lambda: len(lab.templates) == 2)
    lab.template.say(event="failed", reason="app.py could not be loaded", traceback="Trace: here")
    lab.until(lambda: lab.state == "running")
    assert "app.py could not be loaded" in lab.text()
    assert "Trace: here" in lab.text()
    assert generations(lab) == [1, 1]


def test_a_template_that_dies_while_it_loads_fails_the_reload(lab: Lab) -> None:
    lab.start()
    lab.loads_by_itself = False
    lab.master.reload()
    lab.until(lambda: len(lab.templates) == 2)
    lab.kill(lab.template.pid)
    lab.until(lambda: lab.state == "running")
    assert "ended: signal 9" in lab.text()
    lab.turn(3)
    assert [g.number for g in lab.master._nursery.generations] == [1]


def test_a_template_that_died_after_its_manifest_is_not_taken_for_alive(lab: Lab) -> None:
    lab.start()
    lab.loads_by_itself = False
    lab.settings.ready_timeout = 1.0
    lab.master.reload()
    lab.until(lambda: len(lab.templates) == 2)
    late = lab.template
    lab.now += 2
    # Its manifest arrives in the very turn in which it is given up.
    late.say(event="manifest", manifest=lab.manifest)
    lab.master._rollout_failed(lab.master.rollout.generation, "too late")  # type: ignore[union-attr]
    lab.turn(5)
    states = {g.number: g.state for g in lab.master._nursery.generations}
    assert states == {1: TemplateState.SERVING}


def test_the_second_replacement_that_cannot_start_rolls_the_first_one_back(lab: Lab) -> None:
    lab.start(worker(count=3))
    lab.broken.add(("w", 1, 2))
    lab.reload()
    assert not lab.reloaded
    assert "no database" in lab.text()
    lab.until(lambda: generations(lab) == [1, 1, 1] and len(lab.live()) == 3)
    lab.turn(3)
    assert [g.number for g in lab.master._nursery.generations] == [1]


def test_timers_of_the_old_process_go_on_when_its_replacement_does_not_come(lab: Lab) -> None:
    lab.start(worker())
    lab.broken.add(("w", 0, 2))
    lab.reload()
    lab.turn(3)
    assert [order["do"] for order in lab.at(0).orders] == ["quiesce", "resume"]


def test_ready_timeout_fails_a_reload_that_hangs(lab: Lab) -> None:
    lab.start(worker(count=2))
    lab.settings.ready_timeout = 5.0
    lab.ready_by_itself = False
    lab.master.reload()
    lab.turn(200)
    assert lab.state == "running"
    assert "ready_timeout" in lab.text()
    assert generations(lab) == [1, 1]


def test_p9_many_reloads_asked_for_at_once_are_at_most_one_more(lab: Lab) -> None:
    lab.start(worker())
    for _ in range(50):
        lab.master.reload()
    lab.turn(100)
    assert lab.master.reloads == 1
    lab.master.reload()
    lab.turn()
    for _ in range(50):
        lab.master.reload()
    lab.turn(100)
    assert lab.master.reloads == 3


def test_e17_a_reload_that_does_not_get_loaded_gives_way_to_a_newer_one(lab: Lab) -> None:
    lab.start(worker())
    lab.loads_by_itself = False
    lab.master.reload()
    lab.turn(3)
    hung = lab.master.rollout
    lab.turn(6, seconds=1)
    lab.loads_by_itself = True
    lab.master.reload()
    lab.until(lambda: lab.master.reloads == 1)
    assert lab.master.rollout is not hung


def test_at_most_two_generations_drain(lab: Lab) -> None:
    lab.start(worker())
    for _ in range(4):
        lab.at(0).leaves = False
        lab.reload()
    draining = [w for w in lab.live() if w.draining]
    hurried = [w for w in draining if w.orders[-1].get("timeout") == 0.0]
    assert len(draining) - len(hurried) == 2
    lab.turn(60)
    assert len([w for w in lab.live() if w.draining]) == 2


def test_a_unix_socket_is_bound_by_the_template_and_removed_at_the_end(
    lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "app.sock"
    lab.start(worker(listen=f"tcp+unix://{path}", count=2))
    assert path.is_socket()
    lab.reload()
    assert lab.reloaded
    lab.master.stop("stop", 1)  # type: ignore[arg-type]
    lab.turn(40)
    assert not path.exists()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"listen": ["x"]},
        {"listen": "tcp+unix:///elsewhere"},
        {"error": {"a": []}},
        {"inode": ["x", None]},
    ],
)
@pytest.mark.parametrize("kind", ["none", "file", "tcp", "unix-unbound", "two"])
def test_a_hostile_answer_for_a_unix_socket_fails_the_reload_only(
    lab: Lab, tmp_path: Path, answer: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start()
    listen = f"tcp+unix://{tmp_path}/s"
    lab.manifest = manifest(worker(), worker("u", listen))
    lab.loads_by_itself = False
    lab.master.reload()
    lab.until(lambda: len(lab.templates) == 2)
    template = lab.template
    monkeypatch.setattr(template, "_obey", lambda message: None)
    template.say(event="manifest", manifest=lab.manifest)
    lab.until(lambda: any(order["do"] == "bind" for order in template.orders))
    with open(os.devnull) as file, socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        fds = {
            "none": [],
            "file": [file.fileno()],
            "tcp": [tcp.fileno()],
            "unix-unbound": [unix.fileno()],
            "two": [unix.fileno(), unix.fileno()],
        }[kind]
        template.channel.send({"event": "bound", "listen": listen, **answer}, fds)
    lab.until(lambda: lab.state == "running")
    assert not lab.reloaded
    assert len(lab.live()) == 1


CHANGES = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["a", "b", "c"]),
            st.tuples(st.integers(1, 4), st.integers(0, 2), st.booleans(), st.booleans()),
            min_size=1,
        ),
        st.sampled_from(["", "", "broken", "script"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=CHANGES)
def test_after_any_series_of_reloads_the_service_is_as_the_last_good_one_said(
    changes: list[tuple[dict[str, tuple[int, int, bool, bool]], str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    places = {(name, place): free_port() for name in "abc" for place in (1, 2)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        lab = Lab(monkeypatch, tmp_path_factory.mktemp("lab"))
        try:
            lab.start(worker("a"))
            accepted = {"a": (1, 0, True, True)}
            for wanted, failure in changes:
                number = lab.master._nursery._next_number
                if failure == "broken":
                    last = list(wanted)[-1]
                    lab.broken.add((last, wanted[last][0] - 1, number))
                specs = [
                    worker(
                        name,
                        f"tcp://127.0.0.1:{places.get((name, place), 0)}",
                        count=count,
                        reuse_port=reuse_port,
                        reloadable=reloadable,
                    )
                    for name, (count, place, reuse_port, reloadable) in wanted.items()
                ]
                if failure == "script":
                    specs.append(worker("bad", "tcp://192.0.2.1:9"))
                must_stay = any(
                    name in accepted and accepted[name][1] != place and not reloadable
                    for name, (_, place, _, reloadable) in wanted.items()
                )
                lab.reload(*specs)
                if lab.reloaded:
                    accepted = wanted
                else:
                    assert failure or must_stay, lab.text()
                lab.turn(20)
                _check(lab, accepted, places)
        finally:
            lab.close()


def _check(lab: Lab, accepted: dict[str, Any], places: dict[tuple[str, int], int]) -> None:
    assert set(lab.master.groups) == set(accepted)
    for name, (count, place, _, _) in accepted.items():
        group = lab.master.groups[name]
        assert [slot.id for slot in group.slots] == list(range(count))
        assert sorted(w.slot for w in lab.live(name)) == list(range(count))
        ports = {slot.sock.getsockname()[1] for slot in group.sockets() if slot.sock}
        assert len(ports) == 1
        if place:
            assert ports == {places[name, place]}
        if not group.shared:
            for slot in group.removed:
                assert sum(slot.id in w.lent for w in lab.live(name)) == 1
            assert not any(s.id in w.lent for s in group.slots for w in lab.live(name))


def test_a_reload_that_runs_out_of_descriptors_fails_and_the_service_goes_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-12: also when it adds Workers, which then have to go while the groups are looked at."""
    lab.start(worker())
    spawn = Nursery.spawn

    def exhausted(home: Nursery, group: Any, slot: Any) -> Any:
        if group.name == "added":
            raise OSError(errno.EMFILE, "Too many open files")
        return spawn(home, group, slot)

    monkeypatch.setattr(Nursery, "spawn", exhausted)
    lab.reload(worker(), worker("added"), worker("other"))
    assert lab.master.reloads == 0
    assert list(lab.master.groups) == ["w"]
    assert lab.state == "running"
    assert len(lab.live()) == 1
