"""What a user's type checker sees: this file is checked, never run."""

from __future__ import annotations

from typing import assert_type

from longline import Connection, Request, Response, Timer, Worker, app, connect, run

web = Worker("http://127.0.0.1:8080", name="web", count="auto", max_body_bytes=None)


@web.on_message
def answer(conn: Connection, request: Request) -> Response:
    assert_type(conn.send("x"), bool)
    assert_type(request.path, str)
    return Response("hello", 200)


@web.on_connect
async def joined(conn: Connection) -> None:
    conn.join("lobby")
    assert_type(web.to("lobby").send("hi", exclude=conn), int)
    await conn.drain()


@web.on_start
async def started(worker: Worker) -> None:
    assert_type(worker.id, int)
    assert_type(Timer.every(1.0, print, "tick"), Timer)
    other = await connect("tcp://127.0.0.1:9000", timeout=2.0)
    other.pipe(other)


@app.on_stop
def stopped() -> None:
    print(app.name)


run()
