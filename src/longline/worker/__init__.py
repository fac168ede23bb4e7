"""One process that serves: what users declare, and how it runs.

worker.py    Worker: address, handlers, limits
hook.py      handlers as attributes
serving.py   a Worker alive in the running loop
listener.py  taking connections from a socket, within bounds
rooms.py     rooms and broadcasts within one process
runtime.py   the supervised process around it: orders, beats, leaving
report.py    the rows of the `connections` command
cpu.py       count="auto"
"""

from .rooms import Room
from .worker import Worker

__all__ = ["Room", "Worker"]
