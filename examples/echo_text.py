"""Echo of lines: the `text` protocol cuts the stream into messages, here one line each.

Try it:

    longline start examples/echo_text.py
    nc 127.0.0.1 9102
"""

import os

from longline import Worker, run

LISTEN = os.environ.get("LISTEN", "text://127.0.0.1:9102")

echo = Worker(LISTEN, name="echo")


@echo.on_connect
def greet(conn):
    conn.send("hello, say something")


@echo.on_message
def said(conn, line):
    return f"you said {line!r}"  # what a handler returns is sent


run()
