"""Outgoing connections.

tcp.py  connect: a connection to a stream address, with the callbacks of servers
"""

from .tcp import connect

__all__ = ["connect"]
