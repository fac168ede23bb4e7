"""For every test: with LONGLINE_TEST_REQUIRE=all a test that is skipped has failed.

On a developer's machine a missing browser or kernel feature skips the tests that need it. On
the machine that decides about a release, nothing may be left out in silence.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

REQUIRE = os.environ.get("LONGLINE_TEST_REQUIRE", "")


def pytest_configure() -> None:
    if REQUIRE not in ("", "all"):
        raise pytest.UsageError(f"LONGLINE_TEST_REQUIRE is all or unset, not {REQUIRE!r}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # An expected failure is reported as skipped, too, and is no missing test.
    if REQUIRE and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRE and report.skipped:
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"LONGLINE_TEST_REQUIRE=all, but {reason}"
