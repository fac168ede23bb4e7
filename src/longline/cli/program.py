"""The click program: the commands, and one clear line with a true exit code for each error.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (docs/commands.md).
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from .._version import VERSION
from ..errors import LonglineError, NotRunningError
from .options import control_options, existing_script, make_settings, start_options
from .text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..supervisor.settings import Settings
    from .control import Service

__all__ = ["program", "run"]

FAILED, USAGE, INTERRUPTED = 1, 2, 130

_graceful = click.option(
    "-g", "--graceful", is_flag=True, help="Let connections end by themselves, up to an hour."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with stable keys.")


class _Program(click.Group):
    """A group that tells how a command is written when its words stand the wrong way round."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        first, second = args[0], args[1] if len(args) > 1 else ""
        if first not in self.commands:
            # `app.py start` is how a script itself, or one of Workerman, is told.
            if second in self.commands:
                right = [second, first, *args[2:]]
                ctx.fail(f"the command comes first: {shlex.join(['longline', *right])}")
            if os.path.isfile(first):
                right = ["start", first, *args[1:]]
                ctx.fail(f"a command is missing: {shlex.join(['longline', *right])}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(VERSION, "-V", "--version", message="longline %(version)s")
def program() -> None:
    """Run a script's Workers as a supervised family of processes."""


@program.command()
@start_options
def start(script: str, args: tuple[str, ...], **options: Any) -> int:
    """Start the service of SCRIPT.

    It stays in the foreground, where Ctrl+C stops it, unless -d is given. Words after -- are
    the script's own arguments.
    """
    return _start(make_settings(script, args, options), single=options["single"])


@program.command()
@start_options
@_graceful
def restart(script: str, args: tuple[str, ...], graceful: bool, **options: Any) -> int:
    """Stop the service of SCRIPT if it runs, then start it."""
    from .control import Service, stop_if_running

    settings = make_settings(script, args, options)
    stop_if_running(Service.of(settings), graceful=graceful)
    return _start(settings, single=options["single"])


@program.command()
@control_options
@_graceful
def stop(script: str, run_dir: str | None, graceful: bool) -> int:
    """Stop the service of SCRIPT and wait until it is gone."""
    from . import control

    return control.stop(_service(script, run_dir), graceful=graceful)


@program.command()
@control_options
@_graceful
def reload(script: str, run_dir: str | None, graceful: bool) -> int:
    """Load SCRIPT anew and replace its workers without a gap."""
    from . import control

    return control.reload(_service(script, run_dir), graceful=graceful)


@program.command()
@control_options
@_json
@click.option("-w", "--watch", is_flag=True, help="Show it anew each second.")
def status(script: str, run_dir: str | None, as_json: bool, watch: bool) -> int:
    """Show how the service of SCRIPT is."""
    from . import control

    return control.status(_service(script, run_dir), as_json=as_json, watch=watch)


@program.command()
@control_options
@_json
def connections(script: str, run_dir: str | None, as_json: bool) -> int:
    """List the connections of the service of SCRIPT."""
    from . import control

    return control.connections(_service(script, run_dir), as_json=as_json)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code, with any error told in one line.

    Args:
        arguments: The words after the program's name; None takes them from `sys.argv`.
    """
    _open_closed_streams()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = program.main(words, prog_name="longline", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _complain(f"{error.format_message()}{_hint(error)}", error.exit_code)
    except LonglineError as error:
        return _complain(str(error), FAILED)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader had enough. The interpreter must not meet the pipe again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _open_closed_streams() -> None:
    """Put /dev/null where a standard stream was closed, for us and for a master after us.

    Else the next socket would get its number, and prints would go there.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is taken (POSIX open), and that is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _start(settings: Settings, *, single: bool) -> int:
    from . import start as starting

    if single:
        return starting.start_single(settings)
    if settings.daemon:
        return starting.start_daemon(settings)
    return starting.start_foreground(settings)


def _service(script: str, run_dir: str | None) -> Service:
    """Return the service of a script, which may be missing while its service runs."""
    from .control import Service

    service = Service(script, run_dir)
    if not os.path.isfile(script):
        try:
            service.connect().close()
        except NotRunningError:
            existing_script(script)
            raise
    return service


def _hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (try '{context.command_path} --help')" if context is not None else ""


def _complain(text: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"longline: error: {one_line(text)}\n")
    return code
