"""What the benchmarks load: HTTP, WebSocket, lines and plain TCP on four ports.

    PROCS=2 longline start examples/bench_server.py

PROCS is the number of processes of each Worker (1), PORT the first of the ports (9001).
"""

import os

from longline import Response, Worker, run

PROCS = int(os.environ.get("PROCS", "1"))
PORT = int(os.environ.get("PORT", "9001"))


def hello(conn, request):
    return Response("hello world", content_type="text/plain")


def echo(conn, message):
    return message


Worker(f"http://127.0.0.1:{PORT}", name="http", count=PROCS, on_message=hello)
Worker(f"websocket://127.0.0.1:{PORT + 1}", name="websocket", count=PROCS, on_message=echo)
Worker(f"text://127.0.0.1:{PORT + 2}", name="text", count=PROCS, on_message=echo)
Worker(f"tcp://127.0.0.1:{PORT + 3}", name="tcp", count=PROCS, on_message=echo)

run()
