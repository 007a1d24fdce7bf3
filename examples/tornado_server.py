# SPDX-License-Identifier: MIT
"""A small web server whose memory is worth a look: a session store that grows, a cache with a bound, and templates.

    mprofile run --sample-rate 128K examples/tornado_server.py --port 8888

With --port 0 the system chooses a port; the one in use is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections import OrderedDict
from typing import Dict, List

import tornado.template
import tornado.web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

PAGE = tornado.template.Template(
    """<html><body><h1>{{ user }}</h1><ul>{% for item in items %}<li>{{ item }}</li>{% end %}</ul></body></html>"""
)


class Sessions:
    """Keeps every page that every user was shown: this is what grows."""

    def __init__(self) -> None:
        self.visits: Dict[str, List[Dict[str, object]]] = {}

    def record(self, user: str, path: str, page: bytes) -> None:
        self.visits.setdefault(user, []).append({"path": path, "page": page})

    def count(self, user: str) -> int:
        return len(self.visits.get(user, ()))


class ThumbnailCache:
    """Keeps the last `bound` pictures, 64 KiB each."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.pictures: "OrderedDict[str, bytes]" = OrderedDict()

    def get(self, name: str) -> bytes:
        picture = self.pictures.pop(name, None)
        if picture is None:
            picture = self.render(name)
        self.pictures[name] = picture
        while len(self.pictures) > self.bound:
            self.pictures.popitem(last=False)
        return picture

    def render(self, name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest() * 2048


class PageHandler(tornado.web.RequestHandler):
    def get(self, user: str) -> None:
        sessions: Sessions = self.application.settings["sessions"]
        items = ["visit {} of the page {}".format(number, self.request.path) for number in range(sessions.count(user))]
        page = PAGE.generate(user=user, items=items)
        sessions.record(user, self.request.path, page)
        self.write(page)


class ThumbnailHandler(tornado.web.RequestHandler):
    def get(self, name: str) -> None:
        cache: ThumbnailCache = self.application.settings["thumbnails"]
        self.set_header("Content-Type", "application/octet-stream")
        self.write(cache.get(name))


class SearchHandler(tornado.web.RequestHandler):
    def get(self) -> None:
        words = [{"word": "word{}".format(number), "rank": number} for number in range(200)]
        self.write(json.dumps(words))


def make_application() -> tornado.web.Application:
    return tornado.web.Application(
        [(r"/user/(\w+)", PageHandler), (r"/thumbnail/(\w+)", ThumbnailHandler), (r"/search", SearchHandler)],
        sessions=Sessions(),
        thumbnails=ThumbnailCache(bound=100),
    )


async def serve(port: int) -> None:
    server = HTTPServer(make_application())
    sockets = bind_sockets(port, "127.0.0.1")
    server.add_sockets(sockets)
    print("listening on http://127.0.0.1:{}".format(sockets[0].getsockname()[1]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An example server for mprofile.")
    parser.add_argument("--port", type=int, default=8888, help="port on 127.0.0.1; 0: any (default: %(default)s)")
    asyncio.run(serve(parser.parse_args().port))
