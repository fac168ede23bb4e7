"""The build of the compiled core; all else stands in pyproject.toml.

LONGLINE_BUILD says what to do with it: "auto" builds it where that works, "require" fails
where it does not, "pure" leaves it out.
"""

from __future__ import annotations

import os

from setuptools import Extension, setup

MODE = os.environ.get("LONGLINE_BUILD", "auto")
if MODE not in ("auto", "require", "pure"):
    raise SystemExit(f"LONGLINE_BUILD is auto, require or pure, not {MODE!r}")

EXTENSIONS: list[Extension] = []
if MODE == "require" and not EXTENSIONS:
    raise SystemExit("LONGLINE_BUILD=require, but the sources have no compiled core")

setup(ext_modules=[] if MODE == "pure" else EXTENSIONS)
