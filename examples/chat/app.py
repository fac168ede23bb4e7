"""A chat: names, rooms, history and who is online; page and WebSocket on one port.

    longline start examples/chat/app.py         then open http://127.0.0.1:2345 in two windows
    longline reload examples/chat/app.py        the pages come back, and nothing is lost

CHAT_LISTEN (127.0.0.1:2345) says where it listens, CHAT_DATA where the history is kept. A
message is stored, then sent to its room from the store: so it does not matter which process
took it during a reload, and a page may send again what was not acknowledged.
"""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from store import Store

from longline import Response, Timer, Worker, run

LISTEN = os.environ.get("CHAT_LISTEN", "127.0.0.1:2345")
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/chat.css": ("chat.css", "text/css; charset=utf-8"),
    "/chat.js": ("chat.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class Join(msgspec.Struct, tag_field="do", tag="join"):
    name: Name
    room: Name


class Say(msgspec.Struct, tag_field="do", tag="say"):
    id: Name  # chosen by the page at random, and the same when it sends again
    room: Name
    text: Text


read = msgspec.json.Decoder(Join | Say).decode

# All pages come back within half a second of a reload: until then a room is in two processes.
chat = Worker(f"http://{LISTEN}", name="chat", max_message_bytes=16_384, drain_spread=0.5)


@chat.on_start
def begin(worker):
    global store
    store = Store()
    Timer.every(1.0, deliver)  # what the process before us still stores while it leaves


@chat.on_message
def page(conn, request):
    if request.method not in ("GET", "HEAD") or request.path not in FILES:
        return Response("there is nothing here\n", 404, content_type="text/plain")
    name, kind = FILES[request.path]
    return Response.file(Path(__file__).with_name(name), content_type=kind, headers=HEADERS)


@chat.on_websocket_connect
def arrived(conn, request):
    conn.data.name = conn.data.room = None


@chat.on_websocket_message
def received(conn, text):
    try:
        message = read(text)
    except msgspec.MsgspecError:
        return conn.close(code=1008, reason="not understood")
    if isinstance(message, Join):
        join(conn, message.name, message.room)
    elif conn.data.name is None:
        conn.close(code=1008, reason="join first")
    else:
        store.add(message.id, message.room, conn.data.name, message.text)
        deliver()
        conn.send({"event": "stored", "id": message.id})


def join(conn, name, room):
    leave(conn)
    deliver()  # so that what is new goes either to the room or into the newcomer's history
    conn.data.name, conn.data.room = name, room
    conn.join(room)
    conn.send({"event": "history", "messages": store.history(room)})
    tell_who_is_online(room)


@chat.on_websocket_close
def leave(conn, *_code_and_reason):
    room, conn.data.room = conn.data.room, None
    if room is not None:
        conn.leave(room)
        tell_who_is_online(room)


def tell_who_is_online(room):
    names = {member.data.name for member in chat.to(room).members}
    chat.to(room).send({"event": "online", "names": sorted(names)})


def deliver():
    for message in store.news():
        chat.to(message["room"]).send({"event": "message", **message})


run()
