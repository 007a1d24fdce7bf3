# SPDX-License-Identifier: MIT
"""Servers under load: python web.py wsgi|asgi REQUESTS.

The server runs in this process, under the profiler; the clients in one of their own, without. Each of CLIENTS asks,
waits for the answer, and asks again. Says the seconds of a request (median, the 99th of a hundred) and of all together.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Awaitable, Callable, Dict, List

from timing import say

CLIENTS = 4
WARM_UP = 100  # requests that are not counted


def records(number: int) -> List[Dict[str, Any]]:
    return [
        {"id": i, "name": "item %d" % (i * number), "price": i * 1.25, "tags": ["tag %d" % (i % 7), "tag %d" % (i % 5)]}
        for i in range(100)
    ]


def serve_wsgi(announce: Callable[[int], None]) -> None:
    import flask
    import waitress

    app = flask.Flask("benchmark")
    page = "<ul>{% for item in items %}<li>{{ item.name }}: {{ item.price }}</li>{% endfor %}</ul>"

    @app.route("/json/<int:number>")
    def as_json(number: int) -> Any:
        return flask.jsonify(records(number))

    @app.route("/page/<int:number>")
    def as_page(number: int) -> str:
        return str(flask.render_template_string(page, items=records(number)))

    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=CLIENTS)
    announce(int(server.effective_port))
    server.run()


def serve_asgi(announce: Callable[[int], None]) -> None:
    import asyncio

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    async def as_json(request: Request) -> Response:
        return JSONResponse(records(int(request.path_params["number"])))

    async def as_page(request: Request) -> Response:
        items = await asyncio.gather(*(line(item) for item in records(int(request.path_params["number"]))))
        return HTMLResponse("<ul>%s</ul>" % "".join(items))

    async def line(item: Dict[str, Any]) -> str:
        return "<li>%s: %s</li>" % (item["name"], item["price"])

    app = Starlette(routes=[Route("/json/{number:int}", as_json), Route("/page/{number:int}", as_page)])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False))
    begin: Callable[..., Awaitable[None]] = server.startup

    async def startup(*arguments: Any, **named: Any) -> None:
        await begin(*arguments, **named)
        announce(server.servers[0].sockets[0].getsockname()[1])

    server.startup = startup
    server.run()


def ask(port: int, count: int, taken: List[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(count):
        start = time.perf_counter()
        connection.request("GET", "/%s/%d" % ("json" if number % 2 else "page", number % 50))
        response = connection.getresponse()
        response.read()
        taken.append(time.perf_counter() - start)
        if response.status != 200:
            raise SystemExit("status %d" % response.status)
    connection.close()


def together(port: int, requests: int) -> Dict[str, Any]:
    taken: List[float] = []
    clients = [threading.Thread(target=ask, args=(port, requests // CLIENTS, taken)) for _ in range(CLIENTS)]
    begin = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - begin
    if len(taken) != requests // CLIENTS * CLIENTS:
        raise SystemExit("%d of %d requests were answered" % (len(taken), requests))
    taken.sort()
    return {"values": [seconds], "p50": taken[len(taken) // 2], "p99": taken[int(len(taken) * 0.99)]}


def main(kind: str, requests: int) -> None:
    def announce(port: int) -> None:
        def load() -> None:
            kept = [name for name in os.environ if "BENCH" not in name and name != "LD_PRELOAD"]
            command = [sys.executable, os.path.abspath(__file__), "clients", str(port), str(requests)]
            done = subprocess.run(command, stdout=subprocess.PIPE, env={name: os.environ[name] for name in kept})
            if done.returncode == 0:
                result = json.loads(done.stdout.decode())
                say(result.pop("values"), result)
            finish(done.returncode)

        threading.Thread(target=load, daemon=True).start()

    def finish(status: int) -> None:
        """As a server ends by a signal; what runs at exit runs."""
        EXIT.append(status)
        import _thread

        _thread.interrupt_main()

    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in what a shell runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        (serve_wsgi if kind == "wsgi" else serve_asgi)(announce)
    except KeyboardInterrupt:
        pass
    sys.exit(EXIT[0] if EXIT else 1)


EXIT: List[int] = []

if __name__ == "__main__":
    if sys.argv[1] == "clients":
        together(int(sys.argv[2]), WARM_UP)
        print(json.dumps(together(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main(sys.argv[1], int(sys.argv[2]))
