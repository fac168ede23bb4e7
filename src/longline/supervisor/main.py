"""The entry of a fresh master: lock, log, pid files, then the supervisor's loop.

The command line executes this with the settings as the only argument; nothing of its
libraries is loaded here. Whatever keeps the service from starting becomes one line for the
user, through `readiness`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from ..errors import ControlError, LonglineError, StartError
from ..exitcode import EXIT_BUG
from ..osproc import raise_descriptor_limit, start_time
from .guardian import Guardian
from .journal import Journal
from .log import LogWriter
from .pidfile import AlreadyHeld, InstanceLock, read_pid, remove_pid, write_pid
from .ports import Activation
from .readiness import Readiness
from .rundir import RunDirectory, locate
from .settings import Settings
from .supervisor import Supervisor
from .systemd import Notifier, take_listen_fds

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BOOT", "main", "run"]

BOOT = "from longline.supervisor.main import main; main()"
"""What a fresh interpreter executes to become a master."""


def main() -> NoReturn:
    """Run as the master of the settings in the first argument, and exit."""
    settings = Settings.from_json(sys.argv[1])
    readiness = Readiness(settings)
    try:
        code = run(settings)
    except LonglineError as error:
        readiness.failed(str(error))
        code = 1
    except Exception as error:
        trace = traceback.format_exc()
        if not settings.daemon:
            sys.stderr.write(trace)
        readiness.failed(f"the master failed: {error!r}", trace)
        code = EXIT_BUG
    sys.exit(code)


def run(settings: Settings) -> int:
    """Supervise the service until it is told to stop; return the exit code.

    Raises:
        StartError: The service cannot start, or runs already.
    """
    raise_descriptor_limit()
    if settings.daemon:
        os.umask(settings.umask)
    rundir = locate(settings.script, settings.run_dir)
    rundir.create()
    # Before the lock, the log and the sockets: it shall hold none of them.
    guardian = Guardian.start()
    try:
        return _supervise(settings, rundir, guardian)
    finally:
        guardian.dismiss()


def _supervise(settings: Settings, rundir: RunDirectory, guardian: Guardian) -> int:
    with _instance(settings, rundir), _log(settings) as writer, _pid_files(settings, rundir):
        _set_title(settings)
        _warn_about_root(settings, writer)
        notifier = Notifier()
        with contextlib.closing(notifier), _last_words(settings, writer):
            passed = Activation(take_listen_fds())
            return Supervisor(settings, rundir, writer, notifier, passed, guardian).run()


@contextlib.contextmanager
def _instance(settings: Settings, rundir: RunDirectory) -> Iterator[None]:
    """Hold the lock that makes this the only master of the script."""
    try:
        lock = InstanceLock.acquire(rundir.lock)
    except AlreadyHeld:
        content = None
        with contextlib.suppress(ControlError):
            content = read_pid(rundir.pidfile)
        name = os.path.basename(settings.script)
        pid = f"pid {content[0]}" if content else f"see {rundir.lock}"
        raise StartError(f"{name} is running already ({pid})") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _log(settings: Settings) -> Iterator[LogWriter]:
    console = None if settings.daemon else sys.__stderr__.fileno() if sys.__stderr__ else None
    writer = LogWriter(settings.log_file, console=console, json=settings.log_json)
    try:
        yield writer
    finally:
        writer.close()


@contextlib.contextmanager
def _pid_files(settings: Settings, rundir: RunDirectory) -> Iterator[None]:
    """Keep the pid file of the run directory, and the one asked for, while we live."""
    pid = os.getpid()
    paths = [str(rundir.pidfile), *([settings.pid_file] if settings.pid_file else [])]
    try:
        for path in paths:
            write_pid(path, pid, start_time(pid) or 0)
        yield
    finally:
        for path in paths:
            remove_pid(path, pid)


@contextlib.contextmanager
def _last_words(settings: Settings, writer: LogWriter) -> Iterator[None]:
    """Leave the traceback of an error of ours in the log: a daemon has no other place."""
    try:
        yield
    except LonglineError as error:
        if settings.daemon:
            Journal(writer).error(str(error))
        raise
    except Exception:
        if settings.daemon:
            Journal(writer).error("the master failed", traceback.format_exc())
        raise


def _set_title(settings: Settings) -> None:
    import setproctitle

    setproctitle.setproctitle(f"longline: master {os.path.basename(settings.script)}")


def _warn_about_root(settings: Settings, writer: LogWriter) -> None:
    if os.geteuid() == 0 and not settings.user and os.environ.get("LONGLINE_ROOT_OK") != "1":
        Journal(writer).warning(
            "the application runs as root: name a user with --user "
            "(LONGLINE_ROOT_OK=1 silences this line)"
        )
