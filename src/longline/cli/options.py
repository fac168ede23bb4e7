"""The options of `start` and `restart`: names, environment variables, checks.

Each option has a variable, `LONGLINE_` and its name in capitals; the command line wins. What
is asked for becomes one `Settings`, with absolute paths.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import ConfigurationError
from ..limits import LIMITS, check_limit
from ..supervisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ScriptError", "control_options", "existing_script", "make_settings", "start_options"]

_F = TypeVar("_F", bound="Callable[..., Any]")
_LEVELS = ("debug", "info", "warning", "error", "critical")
_UNLIMITED = ("none", "unlimited")


class ScriptError(click.ClickException):
    """The script cannot be used; its path is what has to change, so no help is hinted at."""

    exit_code = 2


def _deadline(limit: str) -> Callable[[click.Context, click.Parameter, str], float | None]:
    """Return the check of an option in seconds: 0 is refused, unlimited has to be said (L-2)."""

    def check(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        try:
            return check_limit(limit, _seconds_in(value))
        except ConfigurationError as error:
            hint = str(error).replace("unlimited is None", "unlimited is 'none'")
            raise click.BadParameter(hint.removeprefix(f"{limit} ")) from None

    return check


def _seconds_in(value: str) -> float | None:
    if value.lower() in _UNLIMITED:
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no number of seconds") from None


def _option(*names: str, **attributes: Any) -> Callable[[_F], _F]:
    """Return a click option that reads its LONGLINE_ variable, too."""
    longest = max(names, key=len).lstrip("-")
    variable = "LONGLINE_" + longest.replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **attributes)


def _path(*names: str, help: str) -> Callable[[_F], _F]:
    return _option(*names, metavar="FILE", help=help)


def _seconds(name: str, limit: str, help: str) -> Callable[[_F], _F]:
    default = LIMITS[limit].default
    shown = "none" if default is None else f"{default:g}"
    text = f"{help} Default: what app.configure says, else {shown}."
    return _option(name, callback=_deadline(limit), metavar="S", default=None, help=text)


_RUN_DIR = _option(
    "--run-dir",
    metavar="DIR",
    help="Where control sockets and locks of services are kept.",
)
_SCRIPT = click.argument("script", metavar="SCRIPT")
_START = (
    _SCRIPT,
    click.argument("args", metavar="[-- ARGS]...", nargs=-1, type=click.UNPROCESSED),
    _option("-d", "--daemon", is_flag=True, help="Run in the background."),
    _option("--single", is_flag=True, help="Run in one process, without master (debuggers)."),
    _option("--user", metavar="U", help="Run the application as this user."),
    _option("--group", metavar="G", help="Run it with this group instead of the user's own."),
    _option("-q", "--quiet", is_flag=True, help="Print no banner."),
    _path("--log", help="The log file. A daemon's default lies beside the script."),
    _option("--log-json", is_flag=True, help="Write the log as JSON lines."),
    _option(
        "--log-level",
        type=click.Choice(_LEVELS, case_sensitive=False),
        default="info",
        help="Least level of the workers' log. Default: info.",
    ),
    _path("--stdout", help="Where prints go, instead of the log (daemon) or the terminal."),
    _path("--pid-file", help="Write the master's pid and start time there, too."),
    _RUN_DIR,
    _option("--no-preload", is_flag=True, help="Let each worker process import for itself."),
    _option("--fail-fast", is_flag=True, help="End the service when a Worker is in a crash loop."),
    _seconds("--ready-timeout", "ready_timeout", "Time until every worker must be ready."),
    _seconds("--graceful-timeout", "graceful_timeout", "Deadline of stop -g and reload -g."),
)


def start_options(command: _F) -> _F:
    """Give a command the script, its arguments and all options of `start`."""
    for decorate in reversed(_START):
        command = decorate(command)
    return command


def control_options(command: _F) -> _F:
    """Give a command the script that names the service, and where its control socket is."""
    return _SCRIPT(_RUN_DIR(command))


def existing_script(script: str) -> str:
    """Return the absolute path of a script that can be started.

    Raises:
        ScriptError: It is missing, a directory, or not readable.
    """
    if not os.path.exists(script):
        raise ScriptError(f"there is no script {script}")
    if os.path.isdir(script):
        raise ScriptError(f"{script} is a directory, not a script")
    if not os.access(script, os.R_OK):
        raise ScriptError(f"the script {script} cannot be read")
    return os.path.abspath(script)


def make_settings(script: str, args: tuple[str, ...], options: dict[str, Any]) -> Settings:
    """Return what the options ask for.

    Raises:
        ScriptError: The script cannot be started.
        click.UsageError: Options contradict each other.
    """
    path = existing_script(script)
    if options["group"] and not options["user"]:
        raise click.UsageError("--group needs --user")
    if options["single"] and options["daemon"]:
        raise click.UsageError("--single and --daemon exclude each other")
    log_file = _absolute(options["log"])
    if log_file is None and options["daemon"]:
        log_file = os.path.splitext(path)[0] + ".log"
    return Settings(
        script=path,
        argv=list(args),
        daemon=options["daemon"],
        quiet=options["quiet"],
        user=options["user"],
        group=options["group"],
        log_file=log_file,
        log_json=options["log_json"],
        log_level=options["log_level"].upper(),
        stdout_file=_absolute(options["stdout"]),
        pid_file=_absolute(options["pid_file"]),
        run_dir=_absolute(options["run_dir"]),
        preload=not options["no_preload"],
        fail_fast=options["fail_fast"],
        ready_timeout=options["ready_timeout"],
        graceful_timeout=options["graceful_timeout"],
    )


def _absolute(path: str | None) -> str | None:
    return os.path.abspath(path) if path else None
