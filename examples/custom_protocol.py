"""A protocol of one's own: netstrings, "5:hello," for each message.

    longline start examples/custom_protocol.py
    printf '5:hello,' | nc 127.0.0.1 9107

`decode` answers a message and its length, or how many bytes to wait for, or None.
"""

import os

from longline import Worker, register_protocol, run

LISTEN = os.environ.get("LISTEN", "netstring://127.0.0.1:9107")


class Netstring:
    def decode(self, buffer):
        length, colon, _ = bytes(buffer[:8]).partition(b":")
        if not colon and len(buffer) < 8:
            return None
        start, end = len(length) + 1, len(length) + 1 + int(length)
        return (bytes(buffer[start:end]), end + 1) if len(buffer) > end else end + 1

    def encode(self, message):
        return b"%d:%b," % (len(message), message)


register_protocol("netstring", Netstring)

echo = Worker(LISTEN, name="echo")


@echo.on_message
def received(conn, message):
    return message.upper()


run()
