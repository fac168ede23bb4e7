"""Becoming a master, starting one in the background, or doing without.

A master is always a fresh interpreter, so that nothing that the command line imported lives
on in it. In the foreground it takes this process's place, pid included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import StartError
from ..supervisor.interpreter import interpreter

if TYPE_CHECKING:
    from ..supervisor.settings import Settings

__all__ = ["start_daemon", "start_foreground", "start_single"]

BOOT = "from longline.supervisor.main import main; main()"
EXIT_TIMEOUT = 5.0
"""Seconds that a master gets to leave after it reported that the start failed."""
_MAX_OUTCOME = 8 * 1024 * 1024


def start_foreground(settings: Settings) -> int:
    """Become the master; only a failure returns.

    Raises:
        StartError: The interpreter cannot be executed.
    """
    command = _master(settings)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise StartError(f"{command[0]} cannot be executed: {error.strerror}") from None


def start_daemon(settings: Settings) -> int:
    """Start a master in the background and report how its start went.

    Returns:
        0 once every worker is ready.

    Raises:
        StartError: The service did not start; its traceback has been printed.
    """
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb") as pipe:
        settings.ready_fd = write_fd
        try:
            process = _spawn(settings)
        finally:
            os.close(write_fd)
        try:
            outcome = _read_outcome(pipe, process, settings)
        except KeyboardInterrupt:
            name = os.path.basename(settings.script)
            sys.stderr.write(f"longline: {name} (pid {process.pid}) goes on in the background\n")
            raise
        finally:
            # A daemon outlives us on purpose: init will be its parent.
            process.returncode = 0
    _report(outcome, settings)
    return 0


def start_single(settings: Settings) -> int:
    """Run the script's Workers in this very process, without a master.

    Raises:
        StartError: The script failed; its traceback has been printed.
    """
    from ..launch import start_single as launch
    from ..supervisor.script import ScriptFailed

    try:
        launch(settings.script, settings.argv)
    except ScriptFailed as error:
        sys.stderr.write(error.trace)
        raise


def _master(settings: Settings) -> list[str]:
    if not hasattr(os, "fork"):
        raise StartError("this system has no supervised processes: use --single")
    return interpreter(BOOT, settings.to_json())


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            _master(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=settings.umask,
            pass_fds=(settings.ready_fd,),
        )
    except OSError as error:
        raise StartError(f"the master cannot be executed: {error.strerror}") from None


def _read_outcome(
    pipe: BinaryIO, process: subprocess.Popen[bytes], settings: Settings
) -> dict[str, Any]:
    """Wait for the master's line; after a failure also for its end, so that one can retry."""
    line = pipe.readline(_MAX_OUTCOME)
    outcome: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    if outcome is not None and outcome["ok"]:
        return outcome
    try:
        code = process.wait(EXIT_TIMEOUT)
        how = f"signal {-code}" if code < 0 else f"exit {code}"
    except subprocess.TimeoutExpired:
        how = f"pid {process.pid} is still there"
    if outcome is None:
        log = f"; the log is {settings.log_file}" if settings.log_file else ""
        raise StartError(f"the master ended without a word ({how}){log}")
    return outcome


def _report(outcome: dict[str, Any], settings: Settings) -> None:
    """Print what the master said, and raise it when it is an error."""
    if not outcome["ok"]:
        trace = outcome.get("traceback") or ""
        if trace:
            sys.stderr.write(trace if trace.endswith("\n") else trace + "\n")
        raise StartError(outcome["error"])
    if not settings.quiet:
        from ..supervisor.readiness import print_banner

        print_banner(outcome["status"], sys.stdout)
