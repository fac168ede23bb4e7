"""An interpreter for tests that become another user."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest

import longline

USER = "www-data"
SOURCE = Path(longline.__file__).parents[1]


@cache
def open_interpreter() -> tuple[str, str]:
    """Return an interpreter that other users can run, and the PYTHONPATH it needs.

    The one that runs the tests may lie in root's own home.
    """
    packages = os.pathsep.join((str(SOURCE), sysconfig.get_path("platlib")))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [candidate, "-c", "import json, longline, longline.cli, longline.worker, uvloop"],
                env={"PYTHONPATH": packages, "PATH": os.defpath}, cwd="/",
                user=USER, group=pwd.getpwnam(USER).pw_gid, extra_groups=[],
                capture_output=True, check=True,
            )  # fmt: skip
            return candidate, packages
    pytest.skip(f"no {version} here can be run by {USER}: the tests' own is in a private place")
