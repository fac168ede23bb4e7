"""JSON Lines: one JSON value a line, which arrives as a Python value.

Try it:

    longline start examples/echo_jsonl.py
    echo '{"numbers": [1, 2, 3]}' | nc 127.0.0.1 9104
"""

import os

from longline import Worker, run

LISTEN = os.environ.get("LISTEN", "jsonl://127.0.0.1:9104")

adder = Worker(LISTEN, name="adder")


@adder.on_message
def received(conn, message):
    match message:
        case {"numbers": [*numbers]} if all(isinstance(n, int | float) for n in numbers):
            return {"sum": sum(numbers)}
        case _:
            return {"error": "expected an object with a list of numbers"}


run()
