"""`longline.run()`: where the script ends and the family begins.

The same call does what its process is for. In a template it registers the declared Workers
and forks; in a process started with `--single` it serves them all itself; in a plain
`python app.py start` it becomes the command `longline start app.py`. Supervisor and Workers
do not know each other: they are introduced here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .application import Application, app
from .errors import StartError
from .supervisor import template
from .supervisor.interpreter import interpreter
from .supervisor.script import ScriptOver, run_script

if TYPE_CHECKING:
    from types import FrameType

    from .supervisor.link import WorkerLink
    from .worker import Worker

__all__ = ["run", "start_single"]

CLI = "from longline.cli import main; main()"
PROGRAM_OPTIONS = ("-h", "--help", "-V", "--version")
"""Options of the program itself; any other one is an option of `start`."""

_log = logging.getLogger("longline")

_single = False


class _Family:
    """The application, as its supervisor sees it."""

    def __init__(self, application: Application) -> None:
        self._app = application

    def manifest(self) -> dict[str, Any]:
        _warn_of_the_deaf(self._app.workers)
        return self._app.manifest()

    def call_hook(self, name: str, arguments: list[Any]) -> None:
        self._app.call_hook(name, arguments)

    def run_worker(self, name: str, link: WorkerLink) -> int:
        from .worker.runtime import serve

        for worker in self._app.workers:
            if worker.name == name:
                return serve(worker, link)
        raise StartError(f"the script declares no Worker named {name!r} any more")


def run() -> NoReturn:
    """Run the declared Workers; the last call of a script, which never returns.

    Raises:
        RuntimeError: A program that is not started by this script only imports it.
    """
    forking = template.current()
    if forking is None and not _single:
        _refuse_import(sys._getframe(1))
    app.seal()
    if forking is not None:
        forking.serve(_Family(app))
    if _single:
        raise ScriptOver(_serve_here(app.workers))
    command = _command(os.path.abspath(sys.argv[0]), sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, interpreter(CLI, *command))


def _refuse_import(frame: FrameType | None) -> None:
    """Refuse to replace a process that only imports the module which calls `run()`.

    The innermost module's body says what is going on: the script's own, or an import's.

    Raises:
        RuntimeError: It is an import's, or there is no script.
    """
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    module = "__main__" if frame is None else frame.f_globals.get("__name__", "__main__")
    if module != "__main__":
        raise RuntimeError(
            f"run() was called while {module!r} is imported: "
            'put it under `if __name__ == "__main__":`'
        )
    if getattr(sys.modules["__main__"], "__file__", None) is None:
        raise RuntimeError("run() needs a script: it starts the file that it is called in")


def _command(script: str, arguments: list[str]) -> list[str]:
    """Return the words of `longline` that `python script arguments` stands for."""
    match arguments:
        case [word] if word in PROGRAM_OPTIONS:
            return [word]
        case [word, *rest] if not word.startswith("-"):
            return [word, script, *rest]
    return ["start", script, *arguments]


def _warn_of_the_deaf(workers: list[Worker]) -> None:
    for worker in workers:
        if worker.deaf:
            _log.warning("%s has an address but no on_message: nobody answers there", worker.name)


def start_single(script: str, argv: list[str]) -> NoReturn:
    """Run a script's Workers in this process, without master and without forks.

    Raises:
        StartError: The script failed, or never called `longline.run()`.
    """
    global _single
    _single = True
    try:
        run_script(script, argv)
    except ScriptOver as over:
        sys.exit(over.code)
    finally:
        app.seal()
    raise StartError(f"{os.path.basename(script)} ended without calling longline.run()")


def _serve_here(workers: list[Worker]) -> int:
    from .loop import new_event_loop

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if not workers:
        raise StartError("the script declares no Worker")
    _warn_of_the_deaf(workers)
    loop = new_event_loop(workers[0].loop)
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve_until_signal(workers))
    finally:
        loop.close()
    return 0


async def _serve_until_signal(workers: list[Worker]) -> None:
    from contextlib import AsyncExitStack

    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker.serving())
        app.call_hook("on_start", [])
        family = "1 Worker" if len(workers) == 1 else f"{len(workers)} Workers"
        print(f"longline: {family} in one process; Ctrl+C stops it", flush=True)
        await over.wait()
    app.call_hook("on_stop", [])
