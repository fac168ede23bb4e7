"""What a template declares is checked, whatever it sends."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longline import Worker
from longline.application import Application
from longline.errors import StartError
from longline.supervisor.manifest import Manifest, WorkerSpec, place_of

from .master_lab import manifest, worker


def test_what_a_worker_declares_is_what_the_master_knows() -> None:
    declared = Worker("http://127.0.0.1:8000", name="web", count=3, hang_timeout=None, backlog=7)
    spec = WorkerSpec.from_json(declared.to_json())
    assert (spec.name, spec.count, spec.hang_timeout, spec.backlog) == ("web", 3, None, 7)
    assert str(spec.address) == "http://127.0.0.1:8000"


def test_workers_keep_their_order() -> None:
    application = Application()
    for name in ("b", "a", "c"):
        application.workers.append(Worker(name=name))
    assert list(Manifest.from_json(application.manifest()).workers) == ["b", "a", "c"]


@pytest.mark.parametrize("missing", sorted(worker()))
def test_a_missing_field_is_named(missing: str) -> None:
    entry = worker()
    del entry[missing]
    with pytest.raises(StartError, match=missing):
        Manifest.from_json(manifest(entry))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "a\nb"), ("name", "x" * 257), ("name", 5), ("name", "\x1b[2J"),
        ("listen", "x"), ("listen", "udp://127.0.0.1:1"), ("listen", 5), ("listen", ""),
        ("count", 0), ("count", 1025), ("count", True), ("count", 1.0), ("count", "4"),
        ("reuse_port", 1), ("reloadable", None), ("backlog", 0), ("backlog", 2**31),
        ("backlog", 10**400), ("backlog", None), ("user", []), ("unix_mode", 0o1777),
        ("unix_mode", -1), ("unix_mode", True), ("loop", None), ("stop_timeout", None),
        ("stop_timeout", 0), ("stop_timeout", float("nan")), ("stop_timeout", float("inf")),
        ("drain_timeout", 10**400), ("drain_grace", "1"), ("hang_timeout", -1),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused(field: str, value: Any) -> None:
    with pytest.raises(StartError):
        Manifest.from_json(manifest(worker(**{field: value})))


@pytest.mark.parametrize(
    "raw",
    [None, [], "x", {}, {"workers": {}}, {"workers": [], "application": "a"},
     {"workers": [None], "application": "a"}, {"workers": [worker()]},
     manifest(worker(), application=None), manifest(worker(), application="a\x00"),
     manifest(*[worker(str(n)) for n in range(257)])],
)  # fmt: skip
def test_a_malformed_manifest_is_refused(raw: Any) -> None:
    with pytest.raises(StartError):
        Manifest.from_json(raw)


def test_two_workers_of_one_name_are_refused() -> None:
    with pytest.raises(StartError, match="two Workers are named 'w'"):
        Manifest.from_json(manifest(worker(), worker()))


def test_two_workers_in_one_place_are_refused_whatever_they_speak() -> None:
    one, two = worker("a", "tcp://127.0.0.1:80"), worker("b", "http://127.0.0.1:80")
    with pytest.raises(StartError, match="'b' and 'a' listen on"):
        Manifest.from_json(manifest(one, two))
    one, two = worker("a", "unix:///run/x"), worker("b", "http+unix:///run/x")
    with pytest.raises(StartError, match="'b' and 'a' listen on"):
        Manifest.from_json(manifest(one, two))


def test_port_0_is_no_place() -> None:
    parsed = Manifest.from_json(manifest(worker("a"), worker("b")))
    places = [place_of(spec.address) for spec in parsed.workers.values() if spec.address]
    assert places == ["", ""]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20)
    | st.integers() | st.just(10**400) | st.just("tcp://127.0.0.1:0"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(worker())), JSON, max_size=4), JSON)
def test_a_hostile_manifest_raises_nothing_but_start_error(
    fields: dict[str, Any], application: Any
) -> None:
    with contextlib.suppress(StartError):
        Manifest.from_json(manifest(worker(**fields), application=application))


@settings(max_examples=300, deadline=None)
@given(JSON | st.fixed_dictionaries({"workers": st.lists(JSON), "application": JSON}))
def test_any_json_raises_nothing_but_start_error(raw: Any) -> None:
    with contextlib.suppress(StartError):
        Manifest.from_json(raw)
