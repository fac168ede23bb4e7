"""Tools for the tests of programs and protocols that use Longline.

codec.py    check_codec: proves a protocol on every split of its input
"""

from __future__ import annotations

from .codec import check_codec

__all__ = ["check_codec"]
