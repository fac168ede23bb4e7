"""`longline.app`: the one application of a process, its settings and its hooks.

Workers declare themselves here; the supervisor asks here what to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import ConfigurationError
from .limits import LIMITS, check_limit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Application", "app"]

F = TypeVar("F", bound="Callable[..., Any]")

HOOKS = ("on_start", "on_reload", "on_stop", "on_worker_exit")


class Declared(Protocol):
    """What the application has to know of a Worker."""

    name: str

    def to_json(self) -> dict[str, Any]:
        """Return what the master has to know."""


class Application:
    """Name, settings and hooks of one application.

    Hooks are plain functions. They run in the template process, which has no event loop:
    `on_start()` once all processes are ready, `on_reload()` in the new code after a reload,
    `on_stop()` when every process has ended, `on_worker_exit(name, slot, pid, how)` after
    each process, where `how` is "exit 0" or "signal 9".
    """

    def __init__(self) -> None:
        self.name = "longline"
        self.settings: dict[str, Any] = {}
        """Free for the application's own configuration."""
        self.limits: dict[str, float | None] = {}
        self.workers: list[Any] = []
        self.embedded: list[Any] = []
        """What `Worker.listen` opened in this process."""
        self._hooks: dict[str, Callable[..., Any]] = {}
        self._sealed = False

    def configure(self, *, name: str | None = None, **limits: Any) -> None:
        """Set the application's name and the limits of scope "app" (docs/limits.md).

        Raises:
            ConfigurationError: A limit is unknown, a Worker's, or out of bounds.
        """
        for key, value in limits.items():
            limit = LIMITS.get(key)
            if limit is not None and limit.scope == "worker":
                raise ConfigurationError(f"{key} belongs to a Worker: Worker(..., {key}=...)")
            self.limits[key] = check_limit(key, value)
        if name is not None:
            self.name = name

    def on_start(self, function: F) -> F:
        """Run a function once all processes are ready."""
        return self._set("on_start", function)

    def on_reload(self, function: F) -> F:
        """Run a function after each reload."""
        return self._set("on_reload", function)

    def on_stop(self, function: F) -> F:
        """Run a function when every process has ended."""
        return self._set("on_stop", function)

    def on_worker_exit(self, function: F) -> F:
        """Run a function with (name, slot, pid, how) after each process that ended."""
        return self._set("on_worker_exit", function)

    def _set(self, name: str, function: F) -> F:
        if not callable(function):
            raise TypeError(f"{name} takes a function, not {function!r}")
        self._hooks[name] = function
        return function

    def call_hook(self, name: str, arguments: list[Any]) -> None:
        """Call one of the hooks, if it is set."""
        hook = self._hooks.get(name)
        if name in HOOKS and hook is not None:
            hook(*arguments)

    def declare(self, worker: Declared) -> None:
        """Take note of a Worker; those made inside a running process are none of the script's."""
        if not self._sealed:
            self.workers.append(worker)

    def seal(self) -> None:
        """End the declarations: from now on Workers are made for `Worker.listen`."""
        self._sealed = True

    def embed(self, serving: Any) -> None:
        """Take note of a further port of this process, so that it ends with it."""
        self.embedded.append(serving)

    def manifest(self) -> dict[str, Any]:
        """Return the declared Workers as the master wants them."""
        return {
            "application": self.name,
            "limits": self.limits,
            "workers": [worker.to_json() for worker in self.workers],
        }


app = Application()
"""The application of this process."""
