"""A Worker inside any asyncio program: no master, no further process.

    python examples/embedded.py

The program serves, asks itself once, prints the answer and ends.
"""

import asyncio
import os

from longline import Worker

LISTEN = os.environ.get("LISTEN", "text://127.0.0.1:9112")

shouter = Worker(LISTEN)


@shouter.on_message
def said(conn, line):
    return line.upper()


async def main():
    async with shouter.serving():
        reader, writer = await asyncio.open_connection("127.0.0.1", shouter.ports[0])
        writer.write(b"is anybody there?\n")
        print((await reader.readline()).decode(), end="")
        writer.close()
        await writer.wait_closed()


asyncio.run(main())
