"""A TCP proxy: each connection is piped to a target, and the target back to it.

    longline start examples/echo_text.py
    longline start examples/proxy.py
    nc 127.0.0.1 9109

A pipe reads no faster than the other side takes, so memory stays small whatever is copied.
"""

import os

import longline

LISTEN = os.environ.get("LISTEN", "tcp://127.0.0.1:9109")
TARGET = os.environ.get("TARGET", "tcp://127.0.0.1:9102")

proxy = longline.Worker(LISTEN, name="proxy")


@proxy.on_connect
async def accepted(conn):
    # What the client sends meanwhile waits until this handler is done.
    try:
        target = await longline.connect(TARGET, timeout=5)
    except OSError as error:  # a TimeoutError is one, too
        print(f"{TARGET} cannot be reached: {error}")
        conn.close()
        return
    conn.pipe(target)
    target.pipe(conn)


longline.run()
