r"""Echo of binary messages: the `frame` protocol, a 4-byte length in front of each.

    longline start examples/echo_frame.py
    printf '\0\0\0\011hello' | nc 127.0.0.1 9103 | xxd

The length counts itself: 9 for five bytes.
"""

import os

from longline import Worker, run

LISTEN = os.environ.get("LISTEN", "frame://127.0.0.1:9103")

echo = Worker(LISTEN, name="echo")


@echo.on_message
def received(conn, payload):
    return payload


run()
