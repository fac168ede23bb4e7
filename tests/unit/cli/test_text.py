from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.cli import text

if TYPE_CHECKING:
    from collections.abc import Callable

NO_NUMBERS = [None, "12", "\x1b[2J", True, [], {}, math.nan, math.inf]


@pytest.mark.parametrize("show", [text.count, text.size, text.rate, text.lag, text.duration])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_a_dash(show: Callable[[Any], str], value: object) -> None:
    """Q-5: a worker process may send anything as a figure."""
    assert show(value) == "-"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (9999, "9999"), (10_000, "10.0k"), (12_345_678, "12.3M"), (10**20, "100000.0P")],
)
def test_a_count_is_exact_while_it_is_short(value: float, shown: str) -> None:
    assert text.count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.0K"), (1536, "1.5K"), (20 * 2**20, "20.0M")],
)
def test_a_size_has_binary_units(value: float, shown: str) -> None:
    assert text.size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.5, "0.5"), (99.94, "99.9"), (120, "120")]
)
def test_a_rate_has_a_fraction_while_it_is_small(value: float, shown: str) -> None:
    assert text.rate(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0, "0ms"), (0.0351, "35ms"), (2.14, "2.1s")])
def test_a_lag_is_in_milliseconds_below_a_second(value: float, shown: str) -> None:
    assert text.lag(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (190, "3m10s"),
        (7500, "2h5m"),
        (86_400, "1d"),
        (1_062_000, "12d7h"),
    ],
)
def test_a_duration_has_its_two_largest_units(value: float, shown: str) -> None:
    assert text.duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        (["10.0.0.1", 80], "10.0.0.1:80"),
        (["::1", 80, 0, 0], "[::1]:80"),
        (None, "-"),
        ("", "-"),
        ("/run/\x1b]0;x\x07", "/run/\\x1b]0;x\\x07"),
    ],
)
def test_an_address_is_text_or_host_and_port(value: object, shown: str) -> None:
    assert text.address(value) == shown


@given(st.text())
def test_visible_text_prints(value: str) -> None:
    """Q-5: C0, C1, line separators, direction marks, lone surrogates."""
    assert text.visible(value).isprintable()


def test_printable_text_stays_as_it_is() -> None:
    assert text.visible("größe 中文 [bold]") == "größe 中文 [bold]"


def test_an_error_is_one_line() -> None:
    assert text.one_line("first\n  second\x1b[0m") == "first second\\x1b[0m"
