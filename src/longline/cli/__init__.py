"""The `longline` command: it parses, asks the service, and prints.

    program  the click program and its exit codes
    options  the options of `start` and `restart`, and their LONGLINE_* variables
    start    becoming a master, starting a daemon, running without either
    control  stop, reload, status, connections
    tables   what status and connections look like
    text     figures and foreign text as people read them

Importing this package loads none of them: `main` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the `longline` command and exit with its code.

    Args:
        arguments: The words after the program's name; None takes them from `sys.argv`.
    """
    import sys

    try:
        from .program import run

        code = run(arguments)
    except KeyboardInterrupt:
        # While the libraries were loaded: nothing was asked yet.
        code = 130
    sys.exit(code)
