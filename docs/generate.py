"""Writes the pages that are made from the source: docs/limits.md (`make docs`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from longline.limits import KIB, LIMITS, MIB, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS_PAGE = Path(__file__).with_name("limits.md")

HEAD = """\
# Limits

Everything that a peer can make grow, and everything that somebody waits for, has a bound. Each
is one option, spelt the same everywhere: those of a Worker are keywords of `Worker(...)`, those
of the application are keywords of `app.configure(...)`. `None` means unlimited, where the table
allows it; 0 is refused, so that no limit is turned off by accident.

This page is made by `make docs` from `src/longline/limits.py`.
"""

SECTIONS = {
    "worker": "Of a Worker",
    "app": "Of the application",
}


def main() -> None:
    """Write the pages anew."""
    LIMITS_PAGE.write_text(limits_page(), encoding="utf-8")


def limits_page() -> str:
    """Return docs/limits.md."""
    return HEAD + "".join(line for scope in SECTIONS for line in section(scope))


def section(scope: str) -> Iterator[str]:
    """Yield the lines of one table."""
    yield f"\n## {SECTIONS[scope]}\n\n"
    yield "| Option | Default | `None` | Bounds | Past it | Why this much |\n"
    yield "|---|---|---|---|---|---|\n"
    for limit in LIMITS.values():
        if limit.scope == scope:
            none = "yes" if limit.optional else "no"
            cells = (f"`{limit.name}`", default(limit), none, limit.bounds, limit.excess)
            yield f"| {' | '.join((*cells, limit.reason))} |\n"


def default(limit: Limit) -> str:
    """Return the default as people write it: "10 MiB", "2.5 s"."""
    value = limit.default
    if value is None:
        return "`None`"
    if limit.unit == "seconds":
        return f"{value:,g} s" if value < 10_000 else f"{value:,.0f} s"
    if limit.unit == "count":
        return f"{value:,.0f}"
    size, rate = int(value), "/s" if limit.unit == "bytes/s" else ""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size % unit == 0:
            return f"{size // unit:,} {name}{rate}"
    return f"{size:,} B{rate}"


if __name__ == "__main__":
    main()
