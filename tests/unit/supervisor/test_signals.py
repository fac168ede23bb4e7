"""Signals as data (P-9)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from longline.supervisor.signals import HANDLED, SignalQueue

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def queue() -> Iterator[SignalQueue]:
    before = {number: signal.getsignal(number) for number in (*HANDLED, signal.SIGPIPE)}
    queue = SignalQueue()
    yield queue
    queue.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_p9_a_storm_is_one_entry(queue: SignalQueue) -> None:
    for _ in range(1000):
        signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGTERM)
    assert queue.take() == {signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD}
    assert queue.take() == {signal.SIGCHLD}


def test_p9_a_pipe_that_is_full_holds_nobody_up(queue: SignalQueue) -> None:
    for _ in range(70_000):
        os.kill(os.getpid(), signal.SIGUSR2)
    assert signal.SIGUSR2 in queue.take()


def test_bytes_that_are_no_handled_signal_are_passed_over(queue: SignalQueue) -> None:
    os.write(queue._write, bytes([0, 200, 255, signal.SIGALRM]))
    assert queue.take() == {signal.SIGCHLD}
