"""The master as a whole: it survives any message, and its ends are orderly."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longline.errors import StartError
from longline.supervisor.generation import Generation
from longline.supervisor.report import status_report
from longline.supervisor.shutdown import Step, Urgency

from .master_lab import Lab, manifest, worker

DEEP: Any = None
for _ in range(900):
    DEEP = {"a": DEEP}

VALUES: Any = (
    st.sampled_from(
        [None, True, 0, -1, 1, 2**31, 2**63, 10**4200, 1e308, "", "x", "on_stop", [], {}]
    )
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.just([{}]), max_size=2)
)
KEYS = ("pid", "stats", "reason", "traceback", "manifest", "listen", "error", "inode", "name",
        "status", "command")  # fmt: skip
EVENTS = ("hello", "ready", "beat", "quiesced", "failed", "manifest", "bound", "hooked",
          "unlinked", "exited", "?")  # fmt: skip
MESSAGES = st.builds(
    lambda event, body: {"event": event, **body},
    st.sampled_from(EVENTS) | VALUES,
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(messages=st.lists(st.tuples(st.booleans(), MESSAGES), min_size=1, max_size=20))
def test_the_master_survives_any_message(
    messages: list[tuple[bool, dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        lab = Lab(monkeypatch, tmp_path_factory.mktemp("lab"))
        try:
            lab.start(worker(count=2))
            for from_template, body in messages:
                if from_template:
                    if lab.templates:
                        lab.template.say(**body)
                elif lab.live():
                    lab.live()[0].say(**body)
                lab.turn()
                json.dumps(status_report(lab.master))
            lab.turn(3)
            assert lab.state == "running"
        finally:
            lab.close()


@pytest.mark.parametrize(
    "body",
    [
        {"event": "beat", "stats": {"connections": DEEP, "reasons": DEEP, "rate": 10**4200}},
        {"event": "failed", "reason": DEEP, "traceback": DEEP},
        {"event": "hello", "pid": 10**4200},
        {"event": DEEP},
    ],
)
def test_deep_and_huge_values_of_a_worker_do_no_harm(lab: Lab, body: dict[str, Any]) -> None:
    lab.start(worker(count=2))
    for played in lab.live():
        played.channel.sock.sendall(_frame(body))
    lab.turn(3)
    json.dumps(status_report(lab.master))
    assert lab.state == "running"


def _frame(body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    return len(data).to_bytes(4, "big") + b"\0" + data


def test_a_worker_cannot_claim_the_pid_of_another(lab: Lab) -> None:
    lab.start(worker(count=2))
    first, second = lab.at(0), lab.at(1)
    second.say(event="hello", pid=first.pid)
    second.say(event="hello", pid=1)
    lab.turn()
    assert {c.pid for c in lab.master.children} == {first.pid, second.pid}


def test_descriptors_that_a_worker_sends_are_closed(lab: Lab) -> None:
    lab.start(worker())
    lab.at(0).channel.send({"event": "beat", "stats": {}}, [0, 1, 2])
    lab.turn(2)
    # The fixture counts descriptors at the end.


def test_a_flood_of_one_worker_holds_nobody_up(lab: Lab) -> None:
    lab.start(worker(count=2))
    flooder, other = lab.at(0), lab.at(1)
    for _ in range(500):
        flooder.say(event="beat", stats={"pad": "x" * 1000})
    other.beating = True
    lab.turn(3)
    assert {c.pid for c in lab.master.children if c.serving} == {flooder.pid, other.pid}


def test_a_lost_template_is_made_again_and_workers_stay(lab: Lab) -> None:
    lab.start(worker(count=2))
    pids = {w.pid for w in lab.live()}
    lab.kill(lab.template.pid)
    lab.turn(5)
    assert len(lab.templates) == 1
    assert {w.pid for w in lab.live()} == pids
    lab.kill(lab.at(0).pid)
    lab.until(lambda: len(lab.live()) == 2)
    assert lab.at(0).generation == 1


def test_a_template_that_dies_again_and_again_is_made_again_at_most_every_five_seconds(
    lab: Lab,
) -> None:
    lab.start(worker())
    lab.loads_by_itself = False
    made = 0
    for _ in range(400):
        for template in list(lab.templates.values()):
            lab.kill(template.pid)
            made += 1
        lab.turn()
    assert made <= 6


def test_no_process_for_the_template_fails_the_reload_only(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start(worker())
    for error in (OSError(24, "Too many open files"), StartError("no output file")):
        monkeypatch.setattr(Generation, "start", _raiser(error))
        lab.reload()
        assert not lab.reloaded
        assert str(error) in lab.text()
    assert len(lab.live()) == 1


def _raiser(error: Exception) -> Any:
    def start(_generation: Generation) -> None:
        raise error

    return start


def test_without_descriptors_a_worker_is_tried_again_and_nothing_leaks(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start(worker(count=2))
    lab.kill(lab.at(0).pid)
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", _no_dup)
        lab.turn(60)
        assert len(lab.live()) == 1
        assert lab.state == "running"
    lab.until(lambda: len(lab.live()) == 2)


def _no_dup(_fd: int) -> int:
    raise OSError(24, "Too many open files")


def test_p2_a_start_whose_worker_fails_ends_with_code_1(lab: Lab) -> None:
    lab.broken.add(("w", 1, 1))
    lab.manifest = manifest(worker(count=2))
    # A daemon's log has the reason; on a terminal the start itself says it.
    lab.settings.daemon = True
    lab.begin()
    lab.until(lambda: lab.master.shutdown and lab.master.shutdown.step is Step.OVER)
    assert lab.master.shutdown is not None
    assert lab.master.shutdown.code == 1
    assert "no database" in lab.text()


def test_p15_a_stop_waits_for_every_process_then_runs_the_hook(lab: Lab) -> None:
    lab.start(worker(count=3))
    stubborn = lab.at(1)
    stubborn.leaves = False
    lab.master.stop("SIGTERM", Urgency.PLAIN)
    lab.turn(20)
    assert lab.live() == [stubborn]
    assert not any(order.get("name") == "on_stop" for order in lab.template.orders)
    lab.kill(stubborn.pid, 0)
    lab.until(lambda: lab.master.shutdown and lab.master.shutdown.step is Step.OVER)
    assert [order["name"] for order in lab.template.orders if order["do"] == "hook"][
        -1
    ] == "on_stop"
    assert lab.master.shutdown is not None
    assert lab.master.shutdown.code == 0


def test_asked_again_a_stop_gets_less_patient(lab: Lab) -> None:
    lab.start(worker(stop_timeout=20))
    stubborn = lab.at(0)
    stubborn.leaves = False
    for _ in range(4):
        lab.master.stop("SIGTERM", Urgency.GRACEFUL)
        lab.turn(3)
    assert [order["timeout"] for order in stubborn.orders if order["do"] == "drain"] == [
        3600.0, 20, 2.0, 0.0,
    ]  # fmt: skip
    assert lab.signals == [(stubborn.pid, signal.SIGKILL)]


def test_a_stop_during_a_reload_wins(lab: Lab) -> None:
    lab.start(worker(count=2))
    lab.ready_by_itself = False
    lab.master.reload()
    lab.turn(10)
    lab.master.stop("SIGTERM", Urgency.PLAIN)
    lab.until(lambda: lab.master.shutdown and lab.master.shutdown.step is Step.OVER)
    assert lab.live() == []


def test_a_stop_does_not_wait_for_a_hook_for_ever(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start(worker())
    monkeypatch.setattr(lab.template, "_obey", lambda message: None)
    lab.master.stop("SIGTERM", Urgency.PLAIN)
    lab.turn(250)
    assert lab.master.shutdown is not None
    assert lab.master.shutdown.step is Step.OVER
    assert "its on_stop hook may hang" in lab.text()


def test_nobody_is_started_while_it_stops(lab: Lab) -> None:
    lab.start(worker(count=2))
    lab.at(0).leaves = False
    lab.master.stop("SIGTERM", Urgency.PLAIN)
    lab.kill(lab.at(1).pid)
    lab.turn(20)
    assert [w.slot for w in lab.live()] == [0]


def test_the_master_never_waits_without_an_end_nor_spins(lab: Lab) -> None:
    lab.start(worker(count=3))
    lab.at(0).beating = False
    lab.turn(200)
    assert all(0 < seconds <= 1.0 for seconds in lab.patience)


@pytest.mark.parametrize(
    ("number", "state"),
    [(signal.SIGTERM, "stopping"), (signal.SIGINT, "stopping"), (signal.SIGQUIT, "stopping"),
     (signal.SIGUSR1, "reloading"), (signal.SIGUSR2, "reloading"), (signal.SIGCHLD, "running")],
)  # fmt: skip
def test_signals_become_wishes(lab: Lab, number: signal.Signals, state: str) -> None:
    lab.start(worker())
    lab.master._commands._signals.send(number)  # type: ignore[attr-defined]
    lab.turn()
    assert lab.state == state


def test_hooks_are_called_in_the_template(lab: Lab) -> None:
    lab.start(worker())
    lab.kill(lab.at(0).pid)
    lab.turn(5)
    hooks = [order for order in lab.template.orders if order["do"] == "hook"]
    assert [hook["name"] for hook in hooks] == ["on_start", "on_worker_exit"]
    assert hooks[1]["arguments"][:2] == ["w", 0]
    assert hooks[1]["arguments"][3] == "signal 9"
    lab.reload()
    lab.turn(3)
    assert lab.template.orders[-1]["name"] in ("on_reload", "on_worker_exit")
