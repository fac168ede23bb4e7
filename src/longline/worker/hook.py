"""Handlers as attributes of what users declare: `@worker.on_message`, or an assignment."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["Hook", "Registrar"]

F = TypeVar("F", bound=Callable[..., Any])


class Registrar(Generic[F]):
    """What reading a handler's attribute gives: call it with a function to set the handler."""

    __slots__ = ("_hook", "_owner")

    def __init__(self, hook: Hook[F], owner: Any) -> None:
        self._hook = hook
        self._owner = owner

    def __call__(self, function: F) -> F:
        """Set the handler and return the function, so that it works as a decorator."""
        self._hook.__set__(self._owner, function)
        return function

    def __bool__(self) -> bool:
        """Whether a handler is set."""
        return self._hook.function(self._owner) is not None


class Hook(Generic[F]):
    """One handler of a declaration.

    Args:
        target: Attribute of the owner that holds the object on which handlers are stored.
        arguments: What the handler will be called with, by name: "conn, message".
    """

    def __init__(self, target: str, arguments: str) -> None:
        self._target = target
        self._arguments = arguments
        self._name = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, _type: type) -> Hook[F]: ...
    @overload
    def __get__(self, owner: Any, _type: type) -> Registrar[F]: ...
    def __get__(self, owner: Any, _type: type) -> Hook[F] | Registrar[F]:
        return self if owner is None else Registrar(self, owner)

    def __set__(self, owner: Any, function: F | None) -> None:
        if function is not None:
            self._check(function)
        setattr(getattr(owner, self._target), self._name, function)

    def function(self, owner: Any) -> F | None:
        """Return the handler, None when there is none."""
        handler: F | None = getattr(getattr(owner, self._target), self._name)
        return handler

    def _check(self, function: F) -> None:
        """Refuse now what would fail at the first call, perhaps much later.

        Raises:
            TypeError: It is no function, or does not take the handler's arguments.
        """
        if not callable(function):
            raise TypeError(f"{self._name} takes a function, not {function!r}")
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            # Much that is written in C does not say what it takes.
            return
        try:
            signature.bind(*self._arguments.split(", "))
        except TypeError as error:
            raise TypeError(
                f"{self._name} is called with ({self._arguments}), "
                f"and {_shown(function, signature)} cannot be: {error}"
            ) from None


def _shown(function: Callable[..., Any], signature: inspect.Signature) -> str:
    """Return a function's name, parameters and place: "said(line) of /srv/chat.py:12"."""
    plain = inspect.unwrap(function)
    bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    name = getattr(plain, "__qualname__", None) or type(plain).__qualname__
    code = getattr(plain, "__code__", None) or getattr(type(plain).__call__, "__code__", None)
    place = f" of {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    shown = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{name}{shown}{place}"
