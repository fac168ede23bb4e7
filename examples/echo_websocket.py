"""WebSocket: text arrives and leaves as str, binary as bytes.

    longline start examples/echo_websocket.py
    python -m websockets ws://127.0.0.1:9106

Pages of other sites may not connect unless they are named: Worker(..., origins=["https://..."]).
"""

import os

from longline import Worker, run

LISTEN = os.environ.get("LISTEN", "websocket://127.0.0.1:9106")

echo = Worker(LISTEN, name="echo")


@echo.on_connect
def opened(conn):
    conn.send(f"you are connection {conn.id}")


@echo.on_message
async def received(conn, message):  # plain or async, as the work needs
    return message


run()
