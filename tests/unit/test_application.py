"""The one Application: settings, hooks, declarations."""

from __future__ import annotations

from typing import Any

import pytest

from longline import Worker
from longline.application import HOOKS, Application
from longline.errors import ConfigurationError, StartError


def test_limits_of_the_application_are_checked() -> None:
    application = Application()
    application.configure(name="shop", graceful_timeout=5, ready_timeout=None)
    manifest = application.manifest()
    assert manifest["application"] == "shop"
    assert manifest["limits"] == {"graceful_timeout": 5.0, "ready_timeout": None}
    for bad in ({"max_pending": 5}, {"unknown": 5}, {"graceful_timeout": 0}):
        with pytest.raises(ConfigurationError):
            application.configure(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_called_with_its_arguments(name: str) -> None:
    application = Application()
    called: list[Any] = []
    register = getattr(application, name)

    def hook(*arguments: Any) -> None:
        called.append(arguments)

    assert register(hook) is hook
    application.call_hook(name, [1, "x"])
    assert called == [(1, "x")]
    with pytest.raises(TypeError, match=name):
        register(5)


def test_a_hook_that_nobody_set_and_a_name_that_is_none_do_nothing() -> None:
    application = Application()
    application.call_hook("on_start", [])
    application.call_hook("__init__", [])


def test_after_the_script_nothing_is_declared_any_more() -> None:
    class Declared:
        name = "x"
        named = True

        def to_json(self) -> dict[str, Any]:
            return {"name": "x"}

    application = Application()
    application.declare(Declared())
    application.seal()
    application.declare(Declared())
    assert application.manifest()["workers"] == [{"name": "x"}]


@pytest.mark.parametrize(
    ("listen", "text"),
    [
        ("tcp://127.0.0.1:1", "two Workers listen on tcp://127.0.0.1:1: give each an address"),
        ("tcp://127.0.0.1:0", "two Workers listen on tcp://127.0.0.1:0: give each a name"),
        (None, "two Workers have neither an address nor a name"),
    ],
)
def test_nameless_workers_in_one_place_are_told_of_the_place(listen: str | None, text: str) -> None:
    application = Application()
    application.declare(Worker(listen))
    application.declare(Worker(listen, name="another"))
    application.manifest()
    application.declare(Worker(listen))
    with pytest.raises(StartError, match=text):
        application.manifest()
