from __future__ import annotations

import math
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.errors import ConfigurationError
from longline.limits import LIMITS, Limit, Limits, check_limit

every_limit = pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)


@every_limit
@pytest.mark.parametrize("zero", [0, 0.0, -0.0, -1, "", "0"], ids=repr)
def test_no_limit_is_turned_off_by_accident_L_2(limit: Limit, zero: Any) -> None:
    with pytest.raises(ConfigurationError, match=limit.name):
        check_limit(limit.name, zero)
    with pytest.raises(ConfigurationError, match=limit.name):
        Limits(**{limit.name: zero})


@every_limit
def test_unlimited_is_spelt_none_and_only_where_it_may_be_L_1(limit: Limit) -> None:
    if limit.optional:
        assert getattr(Limits(**{limit.name: None}), limit.name) is None
    else:
        with pytest.raises(ConfigurationError, match=f"{limit.name} cannot be unlimited"):
            Limits(**{limit.name: None})


@every_limit
def test_each_limit_is_one_keyword_with_its_default_L_1(limit: Limit) -> None:
    assert getattr(Limits(), limit.name) == limit.default
    assert getattr(Limits(**{limit.name: 3}), limit.name) == 3


@every_limit
def test_a_default_is_a_value_that_could_be_asked_for(limit: Limit) -> None:
    assert check_limit(limit.name, limit.default) == limit.default


@every_limit
def test_the_table_says_all_about_each_limit_G_5(limit: Limit) -> None:
    assert limit.bounds
    assert limit.excess
    assert limit.reason
    assert limit.unit in ("bytes", "seconds", "count", "bytes/s")
    assert limit.scope in ("worker", "app")


def test_every_limit_has_its_annotated_attribute() -> None:
    hints = get_type_hints(Limits)
    assert list(hints) == list(LIMITS)
    for name, limit in LIMITS.items():
        kind = int if limit.unit in ("bytes", "count") else float
        expected = {kind} | ({type(None)} if limit.optional else set())
        hint = hints[name]
        assert set(getattr(hint, "__args__", (hint,))) == expected, name


@every_limit
@pytest.mark.parametrize("value", [True, False, "10", [1], b"1", 1j], ids=repr)
def test_a_limit_is_a_number_L_2(limit: Limit, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=limit.name):
        check_limit(limit.name, value)


@every_limit
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_infinity_is_no_way_to_say_unlimited_L_2(limit: Limit, value: float) -> None:
    with pytest.raises(ConfigurationError, match=limit.name):
        check_limit(limit.name, value)


def test_sizes_and_counts_are_whole() -> None:
    with pytest.raises(ConfigurationError, match=r"a whole number of bytes, not 1\.5"):
        check_limit("max_body_bytes", 1.5)
    with pytest.raises(ConfigurationError, match="a whole number of count"):
        check_limit("max_headers", 2.0)


def test_durations_become_floats() -> None:
    value = Limits(head_timeout=2).head_timeout
    assert type(value) is float
    assert value == 2.0


@pytest.mark.parametrize("value", [None, 1])
def test_a_misspelt_limit_is_refused(value: int | None) -> None:
    with pytest.raises(ConfigurationError, match="no limit is named 'max_bodybytes'"):
        Limits(max_bodybytes=value)


def test_replace_changes_what_is_named_and_keeps_the_rest() -> None:
    first = Limits(max_headers=5, idle_timeout=None)
    second = first.replace(max_headers=7)
    assert (first.max_headers, second.max_headers) == (5, 7)
    assert second.idle_timeout is None
    with pytest.raises(ConfigurationError, match="max_headers"):
        first.replace(max_headers=0)


def test_a_misspelt_attribute_is_no_silent_limit() -> None:
    with pytest.raises(AttributeError):
        Limits().max_header = 5  # type: ignore[attr-defined]  # the misuse under test


@given(name=st.sampled_from(sorted(LIMITS)), value=st.floats() | st.integers() | st.booleans())
def test_what_is_accepted_is_finite_and_above_zero_L_2(name: str, value: float) -> None:
    try:
        accepted = check_limit(name, value)
    except ConfigurationError:
        return
    assert accepted is not None
    assert 0 < accepted < math.inf
    assert accepted == value
