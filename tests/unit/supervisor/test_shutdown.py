"""How patient a stop is."""

from __future__ import annotations

import pytest

from longline.supervisor.manifest import WorkerSpec
from longline.supervisor.shutdown import Shutdown, Urgency

from .master_lab import worker


@pytest.mark.parametrize(
    ("urgency", "stop_timeout", "seconds"),
    [(Urgency.GRACEFUL, 10, 3600), (Urgency.PLAIN, 10, 10), (Urgency.FAST, 10, 2),
     (Urgency.FAST, 1, 1), (Urgency.NOW, 10, 0)],
)  # fmt: skip
def test_the_deadline_of_each_urgency(urgency: Urgency, stop_timeout: int, seconds: int) -> None:
    spec = WorkerSpec.from_json(worker(stop_timeout=stop_timeout))
    assert Shutdown("x", urgency, 0, 3600).timeout(spec) == seconds


def test_patience_only_ever_falls() -> None:
    stop = Shutdown("x", Urgency.GRACEFUL, 0, 3600)
    assert not stop.hurry(Urgency.GRACEFUL)
    assert stop.hurry(Urgency.FAST)
    assert not stop.hurry(Urgency.PLAIN)
    assert stop.hurry(Urgency.PLAIN, escalate=True)
    assert stop.urgency is Urgency.NOW
    assert not stop.hurry(Urgency.PLAIN, escalate=True)


def test_a_signal_asks_for_its_own_urgency_at_least() -> None:
    stop = Shutdown("x", Urgency.GRACEFUL, 0, 3600)
    assert stop.hurry(Urgency.FAST, escalate=True)
    assert stop.urgency is Urgency.FAST


def test_the_last_steps_end_when_their_template_does() -> None:
    stop = Shutdown("x", Urgency.PLAIN, 0, 3600, hook=lambda: True)
    assert not stop.advance(1.0, drained=True)
    assert not stop.over
    stop.template_gone()
    assert stop.over
