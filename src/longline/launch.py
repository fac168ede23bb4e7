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
    from .supervisor.link import WorkerLink
    from .worker import Worker

__all__ = ["run", "start_single"]

CLI = "from longline.cli import main; main()"

_single = False


class _Family:
    """The application, as its supervisor sees it."""

    def __init__(self, application: Application) -> None:
        self._app = application

    def manifest(self) -> dict[str, Any]:
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
    """Run the declared Workers; the last call of a script, which never returns."""
    app.seal()
    forking = template.current()
    if forking is not None:
        forking.serve(_Family(app))
    if _single:
        raise ScriptOver(_serve_here(app.workers))
    script = os.path.abspath(sys.argv[0])
    arguments = sys.argv[1:] or ["start"]
    command = [arguments[0], script, *arguments[1:]]
    if arguments[0].startswith("-"):
        command = arguments
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, interpreter(CLI, *command))


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
    raise StartError(f"{os.path.basename(script)} ended without calling longline.run()")


def _serve_here(workers: list[Worker]) -> int:
    from .loop import new_event_loop

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if not workers:
        raise StartError("the script declares no Worker")
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
        print(f"longline: {len(workers)} Workers in one process; press Ctrl+C to stop", flush=True)
        await over.wait()
    app.call_hook("on_stop", [])
