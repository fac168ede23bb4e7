"""The event loop of a process: uvloop where it is installed, else asyncio's own.

asyncio is the contract: whatever this returns is an `asyncio.AbstractEventLoop`, so that
every asyncio library works inside handlers.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LoopKind", "new_event_loop"]

LoopKind: TypeAlias = "str | Callable[[], asyncio.AbstractEventLoop]"
"""What a Worker's `loop` option takes: "auto", "uvloop", "asyncio", or a factory."""


def new_event_loop(kind: LoopKind = "auto") -> asyncio.AbstractEventLoop:
    """Make an event loop that is not running and not set as the current one.

    Args:
        kind: "auto" takes uvloop when it can be imported; "uvloop" and "asyncio" insist;
            a callable without arguments is used as the factory.

    Raises:
        ConfigurationError: The name is unknown, uvloop is wanted but not installed, or the
            factory returned something that is no event loop.
    """
    if callable(kind):
        loop = kind()
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise ConfigurationError(f"the loop factory returned a {type(loop).__name__}")
        return loop
    if kind not in ("auto", "uvloop", "asyncio"):
        raise ConfigurationError(f"loop is auto, uvloop, asyncio or a factory, not {kind!r}")
    present = kind != "asyncio" and find_spec("uvloop") is not None
    if kind == "uvloop" and not present:
        raise ConfigurationError("loop='uvloop', but uvloop is not installed")
    return _uvloop() if present else _asyncio()


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _asyncio() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    if sys.version_info >= (3, 12):
        # A handler that never waits then costs no turn of the loop.
        loop.set_task_factory(asyncio.eager_task_factory)
    return loop
