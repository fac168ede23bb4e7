"""The public surface: what a module says it exports exists, is documented and has one home."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import longline

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "src" / "longline"

LONGEST_FIRST_LINE = 88


def public_modules() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            yield ".".join(parts)


MODULES = list(public_modules())


def exported(module: str) -> Iterator[tuple[str, Any]]:
    home = importlib.import_module(module)
    for name in home.__all__:
        yield name, getattr(home, name)


@pytest.mark.parametrize("module", MODULES)
def test_a_public_module_says_what_it_exports(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert len(names) == len(set(names))
    assert dict(exported(module)).keys() == set(names)


@pytest.mark.parametrize("module", MODULES)
def test_a_public_module_has_a_docstring(module: str) -> None:
    assert (importlib.import_module(module).__doc__ or "").strip()


def documented(module: str) -> Iterator[tuple[str, str | None]]:
    """Yield the public functions, classes and methods that a module defines, and their text."""
    for name, value in exported(module):
        if getattr(value, "__module__", None) != module:
            continue
        if inspect.isclass(value):
            yield name, own_docstring(value)
            yield from methods(value)
        elif inspect.isroutine(value):
            yield name, inspect.getdoc(value)


def own_docstring(cls: type) -> str | None:
    text = vars(cls).get("__doc__")
    # What dataclasses write by themselves is the signature, not a text.
    return None if text is None or text.startswith(f"{cls.__name__}(") else text


def methods(cls: type) -> Iterator[tuple[str, str | None]]:
    for name, value in vars(cls).items():
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if not name.startswith("_") and (inspect.isfunction(function) or is_property(value)):
            # An override may leave the contract to the class that it overrides.
            yield f"{cls.__name__}.{name}", inspect.getdoc(getattr(cls, name))


def is_property(value: object) -> bool:
    return isinstance(value, property)


@pytest.mark.parametrize("module", MODULES)
def test_each_public_name_has_a_docstring_with_a_short_first_line(module: str) -> None:
    flaws = []
    for name, text in documented(module):
        first = (text or "").strip().partition("\n")[0]
        if not first:
            flaws.append(f"{name} has no docstring")
        elif len(first) > LONGEST_FIRST_LINE:
            flaws.append(f"{name}: the first line has {len(first)} columns")
    assert flaws == []


@pytest.mark.parametrize("name", longline.__all__)
def test_the_package_offers_a_name_as_its_home_does(name: str) -> None:
    value = getattr(longline, name)
    if name == "__version__":
        assert value == importlib.import_module("longline._version").VERSION
        return
    homes = [module for module in MODULES if module != "longline" and value is home(module, name)]
    assert homes


def home(module: str, name: str) -> Any:
    """Return what a module exports by that name."""
    return dict(exported(module)).get(name)


def test_the_package_offers_what_a_first_program_needs_and_no_more() -> None:
    assert set(longline.__all__) <= set(dir(longline))
    assert {"Worker", "run", "app", "Timer"} <= set(longline.__all__)
    assert len(longline.__all__) <= 30


def test_star_import_gives_what_is_promised() -> None:
    space: dict[str, Any] = {}
    exec("from longline import *", space)
    assert set(longline.__all__) <= set(space)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Wroker"):
        longline.Wroker  # type: ignore[attr-defined]  # noqa: B018  # the misuse under test
    assert not hasattr(longline, "os")
