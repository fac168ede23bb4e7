from __future__ import annotations

import inspect
import pickle

import pytest

from longline import errors
from longline.errors import (
    AddressError,
    ConfigurationError,
    ControlError,
    IncompleteError,
    LocalProtocolError,
    LonglineError,
    NotRunningError,
    OversizeError,
    ProtocolError,
    RemoteProtocolError,
    StartError,
)

PARENTS = [
    (AddressError, LonglineError),
    (AddressError, ValueError),
    (ConfigurationError, LonglineError),
    (ConfigurationError, ValueError),
    (StartError, LonglineError),
    (ControlError, LonglineError),
    (NotRunningError, ControlError),
    (ProtocolError, LonglineError),
    (RemoteProtocolError, ProtocolError),
    (LocalProtocolError, ProtocolError),
    (OversizeError, RemoteProtocolError),
    (IncompleteError, RemoteProtocolError),
]


@pytest.mark.parametrize(("child", "parent"), PARENTS)
def test_the_tree_is_as_drawn(child: type, parent: type) -> None:
    assert issubclass(child, parent)


def test_every_error_of_the_module_is_public_and_in_the_drawing() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, LonglineError)
    }
    assert found == set(errors.__all__)
    for name in found:
        assert name in (errors.__doc__ or "")


def test_the_fault_of_the_caller_is_not_the_fault_of_the_peer() -> None:
    assert not issubclass(LocalProtocolError, RemoteProtocolError)


@pytest.mark.parametrize(
    ("kind", "status", "close_code"),
    [(RemoteProtocolError, 400, 1002), (OversizeError, 413, 1009), (IncompleteError, 400, 1002)],
)
def test_an_error_of_the_peer_knows_its_answer(
    kind: type[RemoteProtocolError], status: int, close_code: int
) -> None:
    error = kind("why")
    assert (str(error), error.status, error.close_code) == ("why", status, close_code)
    other = kind("why", status=431, close_code=1008)
    assert (other.status, other.close_code) == (431, 1008)


@pytest.mark.parametrize("kind", [RemoteProtocolError, OversizeError])
def test_an_error_that_is_copied_keeps_its_answer(kind: type[RemoteProtocolError]) -> None:
    # Test frameworks and process pools copy exceptions by this way; no data of ours takes it.
    copy = pickle.loads(pickle.dumps(kind("why", status=431, close_code=1008)))
    assert (type(copy), str(copy)) == (kind, "why")
    assert (copy.status, copy.close_code) == (431, 1008)
