"""Handlers that cannot be called as they will be are refused where they are declared."""

from __future__ import annotations

import functools
import re
from typing import Any
from unittest.mock import Mock

import pytest

from longline import Worker


def none() -> None: ...
def one(conn: Any) -> None: ...
def two(conn: Any, message: Any, more: int = 0) -> None: ...
def three(conn: Any, code: int, reason: str) -> None: ...
def key(conn: Any, *, message: Any) -> None: ...
def anything(*_: Any, **__: Any) -> None: ...
async def later(conn: Any, message: Any) -> None: ...


class Callable:
    def __call__(self, conn: Any, message: Any) -> None: ...

    def method(self, conn: Any, message: Any) -> None: ...


ARGUMENTS = {
    "on_start": 1, "on_stop": 1, "on_reload": 1, "on_connect": 1, "on_message": 2, "on_close": 1,
    "on_error": 2, "on_buffer_full": 1, "on_buffer_drain": 1, "on_websocket_connect": 2,
    "on_websocket_connected": 2, "on_websocket_message": 2, "on_websocket_close": 3,
    "on_websocket_ping": 2, "on_websocket_pong": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_each_handler_takes_its_own_number_of_arguments(name: str) -> None:
    for number, function in enumerate([none, one, two, three]):
        if number == ARGUMENTS[name] or (function is two and ARGUMENTS[name] == 3):
            Worker(**{name: function})
            setattr(Worker(), name, function)
            continue
        for declare in (
            lambda f=function: Worker(**{name: f}),
            lambda f=function: setattr(Worker(), name, f),
            lambda f=function: getattr(Worker(), name)(f),
        ):
            with pytest.raises(TypeError, match=f"^{name} is called with"):
                declare()


@pytest.mark.parametrize(
    "function",
    [
        two, anything, later, Callable(), Callable().method, Mock(), functools.partial(three, 1),
        # Nobody can read what these take.
        dict, max,
    ],
)  # fmt: skip
def test_what_takes_the_arguments_or_cannot_be_read_passes(function: Any) -> None:
    worker = Worker(on_message=function)
    assert worker.handlers.on_message is function


def test_the_refusal_names_handler_function_place_and_arguments() -> None:
    line = one.__code__.co_firstlineno
    text = f"on_message is called with (conn, message), and one(conn) of {__file__}:{line} cannot"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}"):
        Worker(on_message=one)


@pytest.mark.parametrize(
    ("function", "shown"),
    [(key, "key(conn, *, message)"), (Callable.method, "Callable.method(self, conn, message)"),
     (functools.partial(later, 1), "partial(message)"), (len, "len(obj, /) cannot")],
)  # fmt: skip
def test_any_kind_of_function_is_shown(function: Any, shown: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"and {shown}")):
        Worker(on_message=function)
