"""HTTP: a handler gets a request and returns text, bytes, a dict, a list or a Response.

Try it:

    longline start examples/echo_http.py
    curl -i 'http://127.0.0.1:9105/?name=Ada'
    curl -i -d 'some body' http://127.0.0.1:9105/echo
"""

import os

from longline import Response, Worker, run

LISTEN = os.environ.get("LISTEN", "http://127.0.0.1:9105")

web = Worker(LISTEN, name="web", count=2)


@web.on_message
def answer(conn, request):
    match request.method, request.path:
        case "GET", "/":
            return {"hello": request.query.get("name", "world"), "process": web.id}
        case "POST", "/echo":
            return Response(request.body, content_type="text/plain; charset=utf-8")
        case _:
            return Response("there is nothing here\n", 404, content_type="text/plain")


run()
