"""Push: other programs send to browsers through a second port inside the worker process.

    longline start examples/push.py
    python -m websockets ws://127.0.0.1:9110        and type a name, say ann
    echo 'ann your parcel has arrived' | nc 127.0.0.1 9111

The inner port speaks to whoever reaches it, so it listens on this machine alone.
"""

import os

from longline import Worker, run

LISTEN = os.environ.get("LISTEN", "websocket://127.0.0.1:9110")
PUSH_LISTEN = os.environ.get("PUSH_LISTEN", "text://127.0.0.1:9111")

browsers = Worker(LISTEN, name="browsers")


@browsers.on_message
def named(conn, name):
    conn.join(name)
    return f"you get what is pushed to {name}"


@browsers.on_start
def open_inner_port(worker):
    Worker(PUSH_LISTEN, name="push", on_message=push).listen()


def push(conn, line):
    name, _, message = line.partition(" ")
    return f"sent to {browsers.to(name).send(message)}"


run()
