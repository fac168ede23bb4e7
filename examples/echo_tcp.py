"""Echo on plain TCP: what arrives is sent back, byte for byte.

Try it:

    longline start examples/echo_tcp.py
    nc 127.0.0.1 9101
"""

import os

from longline import Worker, run

LISTEN = os.environ.get("LISTEN", "tcp://127.0.0.1:9101")

echo = Worker(LISTEN, name="echo")


@echo.on_message
def received(conn, data):
    conn.send(data)


run()
