"""Running the user's script as `__main__`, the way the interpreter would."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import types

from ..errors import StartError

__all__ = ["ScriptFailed", "ScriptOver", "check_threads", "run_script"]


class ScriptFailed(StartError):
    """The script raised; `trace` is its traceback, without the frames above the script."""

    def __init__(self, reason: str, trace: str) -> None:
        super().__init__(reason)
        self.trace = trace


class ScriptOver(BaseException):
    """Leaves the script from inside its call of `longline.run()`, which served to the end.

    No Exception, so that no handler of the script's stops it on its way.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_script(path: str, argv: list[str]) -> None:
    """Execute the script at `path` as `__main__`.

    Raises:
        ScriptFailed: It cannot be read, does not compile, or raised.
        StartError: `longline.run()` refused to run it.
    """
    module = types.ModuleType("__main__")
    module.__file__ = path
    sys.modules["__main__"] = module
    sys.argv = [path, *argv]
    sys.path.insert(0, os.path.dirname(path))
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        exec(code, module.__dict__)
    except StartError:
        raise
    except (Exception, SystemExit) as error:
        name = os.path.basename(path)
        summary = traceback.format_exception_only(error)[-1].strip()
        raise ScriptFailed(f"{name} could not be loaded: {summary}", _trace(error, path)) from error


def _trace(error: BaseException, path: str) -> str:
    """Return the traceback from the script's own first frame on."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != path:
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


def check_threads() -> None:
    """Refuse to fork while the application's import left threads running.

    Raises:
        StartError: There are; the text names them. Locks that they hold would stay locked
            for ever in each forked process.
    """
    main = threading.main_thread()
    names = [thread.name for thread in threading.enumerate() if thread is not main]
    if names:
        raise StartError(
            f"importing the script left threads running ({', '.join(sorted(names))}): start them "
            "in on_start, or start with --no-preload so that each worker imports for itself"
        )
