"""The house around the code: generated pages, stated dependencies, the build, the test policy."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_the_page_of_limits_is_up_to_date() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "generate.py"))["limits_page"]()
    written = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    assert written == page, "docs/limits.md is stale: make docs"


def declared() -> set[str]:
    """Return the names of all packages that pyproject.toml asks for, but for ourselves."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    requirements = [
        *PROJECT["project"]["dependencies"],
        *(one for extra in extras for one in extra),
    ]
    names = {re.match(r"[A-Za-z0-9_.-]+", requirement) for requirement in requirements}
    return {name[0] for name in names if name} - {"longline"}


def test_each_dependency_has_its_line_and_each_line_its_dependency_G_1() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")]
    explained = {cells[0].strip(): cells[1:] for cells in rows if cells[0].strip() != "Package"}
    assert explained.keys() == declared()
    assert all(cell.strip() for cells in explained.values() for cell in cells)


def test_fragments_have_a_kind_that_the_changelog_knows() -> None:
    kinds = {kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"]}
    for path in (ROOT / "newsfragments").iterdir():
        if path.name != "README.md":
            assert re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(kinds)})\.md", path.name), path.name


STUB = "def Extension(*args, **options): ...\ndef setup(**options):\n    print(options)\n"


def build(tmp_path: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """Run setup.py up to the call of setup, also where setuptools is not installed."""
    (tmp_path / "setuptools.py").write_text(STUB)
    return run("setup.py", LONGLINE_BUILD=mode, PYTHONPATH=str(tmp_path))


@pytest.mark.parametrize("mode", ["auto", "pure"])
def test_a_build_does_without_the_core_where_it_may(tmp_path: Path, mode: str) -> None:
    done = build(tmp_path, mode)
    assert (done.returncode, done.stdout) == (0, "{'ext_modules': []}\n")


def test_a_build_that_requires_the_core_fails_without_it(tmp_path: Path) -> None:
    done = build(tmp_path, "require")
    assert done.returncode == 1
    assert "LONGLINE_BUILD=require" in done.stderr


def test_a_build_mode_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = build(tmp_path, "fast")
    assert done.returncode == 1
    assert "auto, require or pure" in done.stderr


SKIPPERS = {
    "test": "import pytest\ndef test_it():\n    pytest.skip('why not')\n",
    "mark": "import pytest\n@pytest.mark.skip('why not')\ndef test_it(): ...\n",
    "fixture": (
        "import pytest\n@pytest.fixture\ndef it():\n    pytest.skip('why not')\n"
        "def test_it(it): ...\n"
    ),
    "module": "import pytest\npytest.skip('why not', allow_module_level=True)\n",
    "import": "import pytest\npytest.importorskip('no_such_module', reason='why not')\n",
}
EXPECTED = "import pytest\n@pytest.mark.xfail(reason='why')\ndef test_it():\n    assert False\n"


def suite(tmp_path: Path, require: str) -> subprocess.CompletedProcess[str]:
    """Run a suite in which each test but one is skipped, with our policy."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    for name, text in {**SKIPPERS, "expected": EXPECTED}.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    options = ("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), "-ra",
               "--continue-on-collection-errors")  # fmt: skip
    environment = {"LONGLINE_TEST_REQUIRE": require, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return run("-m", "pytest", *options, cwd=tmp_path, **environment)


def test_a_skip_is_a_failure_where_all_is_required(tmp_path: Path) -> None:
    done = suite(tmp_path, "all")
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 xfailed, 4 errors" in done.stdout
    assert done.stdout.count("LONGLINE_TEST_REQUIRE=all, but Skipped: why not") >= len(SKIPPERS)


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    done = suite(tmp_path, "")
    assert done.returncode == 0, done.stdout
    assert "5 skipped, 1 xfailed" in done.stdout


def test_a_misspelt_requirement_is_refused(tmp_path: Path) -> None:
    done = suite(tmp_path, "al")
    assert done.returncode == 4
    assert "LONGLINE_TEST_REQUIRE is all or unset" in done.stderr
