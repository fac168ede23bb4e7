"""The commands that ask a running service: stop, reload, status, connections."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from ..errors import ControlError, NotRunningError
from ..supervisor.client import Client
from ..supervisor.rundir import locate

if TYPE_CHECKING:
    from ..supervisor.settings import Settings

__all__ = ["Service", "connections", "reload", "status", "stop", "stop_if_running"]

WATCH_INTERVAL = 1.0


class Service:
    """The service of a script, as its user names it.

    Args:
        script: The script's path; the file may be broken, or gone.
        run_dir: Where its control socket is kept, None for the usual place.
    """

    def __init__(self, script: str, run_dir: str | None) -> None:
        self.name: str = os.path.basename(os.path.abspath(script))
        self._rundir = locate(script, run_dir)

    @classmethod
    def of(cls, settings: Settings) -> Service:
        """Return the service that these settings start."""
        return cls(settings.script, settings.run_dir)

    def connect(self) -> Client:
        """Connect to its master.

        Raises:
            NotRunningError: It does not run.
            ControlError: It cannot be asked.
        """
        return Client.connect(self._rundir, self.name)

    def status(self) -> dict[str, Any]:
        """Return its status, with the memory of each process added.

        Raises:
            ControlError: It cannot be asked.
        """
        from .memory import add_memory

        with self.connect() as client:
            reply = client.ask("status")
        if reply.get("ok") is not True:
            raise ControlError(str(reply.get("error") or f"{client} gave no status"))
        found: dict[str, Any] = reply["status"]
        add_memory(found)
        return found


def stop(service: Service, *, graceful: bool) -> int:
    """Stop the service and wait until it is gone."""
    with service.connect() as client:
        client.stop(graceful=graceful)
        print(f"{client} is stopped")
    return 0


def stop_if_running(service: Service, *, graceful: bool) -> None:
    """Stop the service; say so when there was nothing to stop."""
    try:
        stop(service, graceful=graceful)
    except NotRunningError as error:
        print(error)


def reload(service: Service, *, graceful: bool) -> int:
    """Reload the service and wait until the new workers are ready.

    Raises:
        ControlError: The new code was refused; its traceback has been printed.
    """
    with service.connect() as client:
        reply = client.ask("reload", timeout=None, graceful=graceful)
    if reply.get("ok") is not True:
        trace = str(reply.get("traceback") or "")
        if trace:
            sys.stderr.write(trace if trace.endswith("\n") else trace + "\n")
        reason = reply.get("error") or "the master gave no reason"
        raise ControlError(f"{service.name} was not reloaded: {reason}")
    ready = reply.get("workers")
    print(f"reloaded: {ready} worker{'' if ready == 1 else 's'} ready")
    return 0


def status(service: Service, *, as_json: bool, watch: bool) -> int:
    """Print the status, once or each second."""
    if watch:
        return _watch(service, as_json=as_json)
    found = service.status()
    if as_json:
        _print_json(found)
    else:
        from .tables import console, print_view, status_view

        out = console()
        print_view(status_view(found, out), out)
    return 0


def connections(service: Service, *, as_json: bool) -> int:
    """Print every connection of every worker that answers."""
    with service.connect() as client:
        found = client.connections()
    if as_json:
        _print_json({"connections": found.rows, "silent": found.silent})
    else:
        from .tables import connections_view, console, print_view

        out = console()
        print_view(connections_view(found.rows, found.silent, out), out)
    return 0


def _watch(service: Service, *, as_json: bool) -> int:
    """Show the status anew each second until Ctrl+C, or until the service ends."""
    try:
        if as_json:
            while True:
                print(json.dumps(service.status()), flush=True)
                time.sleep(WATCH_INTERVAL)
        from .tables import console, watch_view

        out = console()
        with watch_view(out) as show:
            while True:
                show(service.status())
                time.sleep(WATCH_INTERVAL)
    except KeyboardInterrupt:
        return 0


def _print_json(value: Any) -> None:
    # ASCII only: nothing of a peer's text reaches the terminal as it is.
    print(json.dumps(value, indent=2))
