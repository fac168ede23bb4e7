"""`longline.app`: the one application of a process, its settings and its hooks.

Workers declare themselves here; the supervisor asks here what to run.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import ConfigurationError, StartError
from .limits import LIMITS, check_limit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Application", "app"]

F = TypeVar("F", bound="Callable[..., Any]")

HOOKS = ("on_start", "on_reload", "on_stop", "on_worker_exit")


class Declared(Protocol):
    """What the application has to know of a Worker."""

    name: str
    named: bool
    """Whether somebody chose the name; else it is the address as it was written."""

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
        self.name: str = "longline"
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
        if self._sealed:
            return
        if not self.workers and _declared_by_script():
            # Without `run()` the script would end as if it had nothing to do.
            atexit.register(self._remind_of_run)
        self.workers.append(worker)

    def seal(self) -> None:
        """End the declarations: from now on Workers are made for `Worker.listen`."""
        self._sealed = True
        self.served()

    def served(self) -> None:
        """Take note that the Workers are of use in this process, without `run()` as well."""
        atexit.unregister(self._remind_of_run)

    def embed(self, serving: Any) -> None:
        """Take note of a further port of this process, so that it ends with it."""
        self.served()
        self.embedded.append(serving)

    def _remind_of_run(self) -> None:
        # After an unhandled exception the traceback has said why the script ended.
        if getattr(sys, "last_value", None) is None:
            script = os.path.basename(sys.argv[0])
            print(
                f"longline: warning: {script} declares Workers but never called longline.run(): "
                "nothing was started",
                file=sys.stderr,
            )

    def manifest(self) -> dict[str, Any]:
        """Return the declared Workers as the master wants them.

        Raises:
            StartError: Two Workers without names of their own share an address.
        """
        from ._core import COMPILED

        _refuse_twins([worker.name for worker in self.workers if not worker.named])
        return {
            "core": "compiled" if COMPILED else "python",
            "application": self.name,
            "limits": self.limits,
            "workers": [worker.to_json() for worker in self.workers],
        }


def _refuse_twins(names: list[str]) -> None:
    """Refuse nameless Workers on one address; the user never saw the names that they have."""
    for name in names:
        if names.count(name) == 1:
            continue
        if "://" not in name:
            raise StartError("two Workers have neither an address nor a name: give each a name")
        remedy = "a name" if name.endswith(":0") else "an address of its own"
        raise StartError(f"two Workers listen on {name}: give each {remedy}")


def _declared_by_script() -> bool:
    """Whether the code that makes a Worker right now stands in the script itself."""
    frame = sys._getframe(1)
    package = f"{__package__}."
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(package):
        frame = frame.f_back
    return frame.f_globals.get("__name__") == "__main__" and "__file__" in frame.f_globals


app: Application = Application()
"""The application of this process."""
