"""Pipes whose ends are gone: nobody is left open without somebody to feed it."""

from __future__ import annotations

import pytest

from .connection_lab import Lab, on_loop


@on_loop
async def test_a_pipe_to_a_connection_that_is_gone_closes_the_source(lab: Lab) -> None:
    source, target = await lab.connect("tcp"), await lab.connect("tcp")
    target.conn.abort()
    await target.gone()
    source.conn.pipe(target.first)
    await source.gone()
    assert source.first.close_reason == "pipe"


@on_loop
async def test_a_pipe_from_a_connection_that_is_gone_closes_the_target(lab: Lab) -> None:
    """As in a proxy whose client leaves while the target is being connected."""
    source, target = await lab.connect("tcp"), await lab.connect("tcp")
    source.conn.abort()
    await source.gone()
    source.first.pipe(target.conn)
    target.conn.pipe(source.first)
    await target.gone()
    assert target.first.close_reason == "pipe"


@on_loop
async def test_a_connection_is_not_piped_to_itself(lab: Lab) -> None:
    peer = await lab.connect("tcp")
    with pytest.raises(ValueError, match="itself"):
        peer.conn.pipe(peer.conn)
