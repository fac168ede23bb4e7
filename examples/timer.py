"""A Worker without an address: a process that only works by the clock.

    longline start examples/timer.py

It is supervised like any other: kill its process, and a new one goes on at once.
"""

import os

from longline import Timer, Worker, run

INTERVAL = float(os.environ.get("INTERVAL", "1"))

clock = Worker(name="clock")


@clock.on_start
def begin(worker):
    Timer.every(INTERVAL, tick)


async def tick():
    print(f"tick of process {os.getpid()}", flush=True)


run()
