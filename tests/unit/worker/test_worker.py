"""Declarations: each option, each refusal, handlers as decorators or assignments."""

from __future__ import annotations

from typing import Any

import pytest

from longline import Worker, app
from longline.errors import AddressError, ConfigurationError
from longline.limits import LIMITS
from longline.worker.serving import Serving


def test_the_name_is_the_address_unless_it_is_given() -> None:
    assert Worker("tcp://127.0.0.1:1").name == "tcp://127.0.0.1:1"
    assert Worker("tcp://127.0.0.1:1", name="x").name == "x"
    assert Worker().name == "none"


def test_a_worker_declares_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "workers", [])
    monkeypatch.setattr(app, "_sealed", False)
    worker = Worker()
    app.seal()
    Worker()
    assert app.workers == [worker]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"count": 0}, "count"), ({"count": True}, "count"), ({"count": "many"}, "count"),
        ({"count": 1.5}, "count"), ({"threads": -1}, "threads"), ({"threads": True}, "threads"),
        ({"colour": 1}, "no option 'colour'"), ({"ready_timeout": 1}, "belongs to the application"),
        ({"max_pending": 0}, "above 0"), ({"backlog": None}, "cannot be unlimited"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Worker("tcp://127.0.0.1:1", **options)


@pytest.mark.parametrize("listen", ["https://127.0.0.1:1", "udp://127.0.0.1:1"])
def test_what_is_not_served_yet_is_refused(listen: str) -> None:
    with pytest.raises(ConfigurationError, match="not served yet"):
        Worker(listen)


def test_an_address_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(AddressError):
        Worker("127.0.0.1:80")


@pytest.mark.parametrize("name", [name for name, one in LIMITS.items() if one.scope == "worker"])
def test_l1_every_limit_is_a_keyword_and_l2_zero_is_refused(name: str) -> None:
    assert getattr(Worker(**{name: 3}).limits, name) == 3
    with pytest.raises(ConfigurationError):
        Worker(**{name: 0})


def test_idle_timeout_is_a_default_of_http_alone() -> None:
    assert Worker("http://127.0.0.1:1").resolved_limits("http").idle_timeout == 60
    assert Worker("text://127.0.0.1:1").resolved_limits("text").idle_timeout is None
    assert Worker("text://127.0.0.1:1", idle_timeout=9).resolved_limits("text").idle_timeout == 9


def test_handlers_may_be_given_decorated_or_assigned() -> None:
    def one(*_: Any) -> None: ...

    worker = Worker(on_connect=one)
    assert worker.on_message(one) is one
    worker.on_close = one  # type: ignore[assignment]
    handlers = worker.handlers
    assert handlers.on_connect is handlers.on_message is handlers.on_close is one
    assert bool(worker.on_close)
    worker.on_close = None  # type: ignore[assignment]
    assert not worker.on_close
    with pytest.raises(TypeError, match="on_message takes a function"):
        worker.on_message(5)  # type: ignore[type-var]


def test_outside_of_a_process_that_serves_it_there_is_nothing_to_send_to() -> None:
    worker = Worker(count=2)
    for call in (lambda: worker.broadcast("x"), lambda: worker.to("r"), lambda: worker.id):
        with pytest.raises(RuntimeError, match="does not serve"):
            call()


def test_several_processes_cannot_be_reached_from_one_yet() -> None:
    worker = Worker(name="b", count=4)
    serving = worker.serving_here = Serving.__new__(Serving)
    serving.processes = 4
    text = r"broadcast\(\) and rooms reach one process only so far, and b has 4: use count=1"
    for call in (lambda: worker.broadcast("x"), lambda: worker.to("r")):
        with pytest.raises(RuntimeError, match=text):
            call()
