"""Running the user's script as the interpreter would."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from longline.errors import StartError
from longline.supervisor.script import ScriptFailed, check_threads, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    main, argv, path = sys.modules["__main__"], sys.argv, list(sys.path)
    yield
    sys.modules["__main__"], sys.argv, sys.path[:] = main, argv, path


def test_the_script_sees_itself_as_main(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        "import sys\nassert __name__ == '__main__'\nassert __file__ == sys.argv[0]\n"
        "found = sys.argv[1:], sys.path[0]\n"
    )
    run_script(str(script), ["-x", "1"])
    assert sys.modules["__main__"].found == (["-x", "1"], str(tmp_path))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "text"),
    [("1/0", "ZeroDivisionError"), ("def", "SyntaxError"), ("raise SystemExit(3)", "SystemExit"),
     ("import nowhere_at_all", "ModuleNotFoundError")],
)  # fmt: skip
def test_a_script_that_fails_is_told_in_one_line_with_its_own_traceback(
    tmp_path: Path, source: str, text: str
) -> None:
    script = tmp_path / "app.py"
    script.write_text(source + "\n")
    with pytest.raises(ScriptFailed, match=f"app.py could not be loaded: .*{text}") as failed:
        run_script(str(script), [])
    assert "run_script" not in failed.value.trace


def test_a_script_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptFailed, match="FileNotFoundError"):
        run_script(str(tmp_path / "none.py"), [])


def test_p11_threads_that_run_are_refused_with_their_names() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="poller")
    check_threads()
    thread.start()
    try:
        with pytest.raises(StartError, match="poller"):
            check_threads()
    finally:
        over.set()
        thread.join()
