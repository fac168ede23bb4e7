"""Handlers as attributes of what users declare: `@worker.on_message`, or an assignment."""

from __future__ import annotations

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
    """

    def __init__(self, target: str) -> None:
        self._target = target
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
        if function is not None and not callable(function):
            raise TypeError(f"{self._name} takes a function, not {function!r}")
        setattr(getattr(owner, self._target), self._name, function)

    def function(self, owner: Any) -> F | None:
        """Return the handler, None when there is none."""
        handler: F | None = getattr(getattr(owner, self._target), self._name)
        return handler
