"""A protocol ported from Workerman as it was: `input`, `decode`, `encode`.

Try it:

    longline start examples/workerman_protocol.py
    echo '{"type": "ping"}' | nc 127.0.0.1 9108
"""

import json
import os

from longline import Worker, from_workerman, register_protocol, run

LISTEN = os.environ.get("LISTEN", "jsonnl://127.0.0.1:9108")


class JsonNL:
    @staticmethod
    def input(buffer, connection):
        return buffer.find(b"\n") + 1  # 0: the end is not there yet

    @staticmethod
    def decode(message, connection):
        return json.loads(message)

    @staticmethod
    def encode(value, connection):
        return json.dumps(value).encode() + b"\n"


register_protocol("jsonnl", from_workerman(JsonNL))

service = Worker(LISTEN, name="service")


@service.on_message
def received(conn, message):
    return {"type": "pong", "to": message}


run()
