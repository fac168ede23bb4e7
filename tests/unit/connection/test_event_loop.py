"""Which event loop a process gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from longline.errors import ConfigurationError
from longline.loop import new_event_loop


def test_names_choose_the_loop() -> None:
    uvloop = pytest.importorskip("uvloop")
    for kind, wanted in (("auto", uvloop.Loop), ("uvloop", uvloop.Loop)):
        loop = new_event_loop(kind)
        assert isinstance(loop, wanted)
        loop.close()
    loop = new_event_loop("asyncio")
    assert not isinstance(loop, uvloop.Loop)
    loop.close()


def test_factory_is_used() -> None:
    made = asyncio.new_event_loop()
    assert new_event_loop(lambda: made) is made
    made.close()


@pytest.mark.parametrize("kind", ["trio", "", lambda: object()])
def test_what_is_no_loop_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigurationError):
        new_event_loop(kind)


def test_absent_uvloop_is_an_error_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longline.loop.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="not installed"):
        new_event_loop("uvloop")
    loop = new_event_loop("auto")
    loop.close()


def test_tasks_are_eager_where_python_has_them() -> None:
    loop = new_event_loop("asyncio")
    # Python 3.11 has none: there the loop keeps its own way of making tasks.
    eager = getattr(asyncio, "eager_task_factory", None)
    assert loop.get_task_factory() is eager
    loop.close()
