"""`run()` in a plain interpreter: what it becomes, and what it refuses to replace."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from longline import Worker, launch

if TYPE_CHECKING:
    from pathlib import Path

HELLO = "from longline import Worker, run\nWorker('text://127.0.0.1:1')\n"


def python(directory: Path, *words: str, **files: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter on words, in a directory with these files (name=text)."""
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text)
    environment = {**os.environ, "LONGLINE_RUN_DIR": str(directory)}
    return subprocess.run(
        [sys.executable, *words], cwd=directory, env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], ["start", "/app.py"]),
        (["stop"], ["stop", "/app.py"]),
        (["start", "-d"], ["start", "/app.py", "-d"]),
        (["-d"], ["start", "/app.py", "-d"]),
        (["-q", "--log", "x"], ["start", "/app.py", "-q", "--log", "x"]),
        (["--", "-d"], ["start", "/app.py", "--", "-d"]),
        (["--help"], ["--help"]),
        (["-V"], ["-V"]),
        (["-d", "--help"], ["start", "/app.py", "-d", "--help"]),
    ],
)
def test_the_script_itself_is_a_command(arguments: list[str], command: list[str]) -> None:
    assert launch._command("/app.py", arguments) == command


def test_whoever_only_imports_the_script_goes_on(tmp_path: Path) -> None:
    code = "try:\n    import hello\nexcept RuntimeError as error:\n    print(error)"
    done = python(tmp_path, "-c", code, hello=HELLO + "run()")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "run() was called while 'hello' is imported: put it under `if __name__ == \"__main__\":`\n"
    )


def test_a_guarded_script_can_be_imported(tmp_path: Path) -> None:
    guarded = HELLO + "if __name__ == '__main__':\n    run()\n"
    done = python(tmp_path, "-c", "import hello; print('on')", hello=guarded)
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


def test_a_function_of_another_module_may_call_it(tmp_path: Path) -> None:
    parts = "from longline import run\ndef main():\n    run()\n"
    done = python(tmp_path, "app.py", "status", app="import parts\nparts.main()\n", parts=parts)
    assert (done.returncode, done.stderr) == (1, "longline: error: app.py is not running\n")


def test_without_a_script_there_is_nothing_to_start(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", "from longline import run; run()")
    assert done.returncode == 1
    assert "RuntimeError: run() needs a script" in done.stderr


def test_a_script_that_forgets_it_is_reminded(tmp_path: Path) -> None:
    done = python(tmp_path, "app.py", app=HELLO)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "longline: warning: app.py declares Workers but never called longline.run(): "
        "nothing was started\n"
    )


SERVED = """
import asyncio
from longline import Worker
one = Worker("text://127.0.0.1:0")
async def main():
    async with one.serving():
        pass
asyncio.run(main())
"""
LISTENING = """
import asyncio
from longline import Worker
one = Worker("text://127.0.0.1:0")
async def main():
    one.listen()
asyncio.run(main())
"""
IMPORTING = "import parts\n"


@pytest.mark.parametrize("source", [SERVED, LISTENING, IMPORTING, "import longline"])
def test_nobody_else_is_reminded(source: str, tmp_path: Path) -> None:
    done = python(tmp_path, "-W", "ignore", "app.py", app=source, parts=HELLO)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_script_that_raised_has_only_its_traceback(tmp_path: Path) -> None:
    done = python(tmp_path, "app.py", app=HELLO + "1 / 0\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_worker_that_nobody_answers_for_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handler(*_: object) -> None: ...

    deaf = Worker("http://127.0.0.1:1", name="deaf", on_close=handler)
    fine = [
        Worker(name="jobs"),
        Worker("http://127.0.0.1:1", on_message=handler),
        Worker("tcp://127.0.0.1:1", on_connect=handler),
        Worker("http://127.0.0.1:1", on_websocket_message=handler),
    ]
    launch._warn_of_the_deaf([deaf, *fine])
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == "deaf has an address but no on_message: nobody answers there"
