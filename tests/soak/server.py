# SPDX-License-Identifier: MIT
"""The program that tests/soak/soak.py records: a web server that never comes to rest, and knows what it holds.

    requests    WSGI, a thread each, answered by a module that is rewritten and reloaded every second: new files' worth
                of functions, with new names, all the time. The last thousand answers are kept.
    threads     Forty more a second, which compress something and end.
    ledger      A live set whose size is known, line by line, at every moment (Ledger).

It says on stdout, one JSON object a line, what the ledger holds and since when, and what the profiler says of itself.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import math
import os
import random
import resource
import sys
import threading
import time
import zlib
from socketserver import ThreadingMixIn
from types import ModuleType
from typing import Any, Callable, Deque, Dict, Iterable, List, Tuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from mprofile import _core

#: Seconds between two changes of the ledger, and changes in which all of it is replaced.
STEP = 5.0
STEPS = 10

#: What a line's blocks swing by, up and down.
SWING = 0.4

MODULE = "soak_pages"

Make = Callable[[random.Random], bytes]


# One line each, which allocates one block: a bytes object is one request of sys.getsizeof(block) bytes.
def tiny(draw: random.Random) -> bytes:
    return bytes(64 - 33)


def small(draw: random.Random) -> bytes:
    return bytes(200 - 33)


def middle(draw: random.Random) -> bytes:
    return bytes(1000 - 33)


def near(draw: random.Random) -> bytes:
    return bytes(3000 - 33)


def mixed(draw: random.Random) -> bytes:
    return bytes(int(64 * 2 ** draw.uniform(0, 8)))


def few(draw: random.Random) -> bytes:
    return bytes(100 - 33)


def rare(draw: random.Random) -> bytes:
    return bytes(2000 - 33)


def large(draw: random.Random) -> bytes:
    return bytes(15000 - 33)


def kept(draw: random.Random) -> bytes:
    return bytes(300 - 33)


#: How many blocks of each line, on average. `kept` is not replaced but grows, by that many a step.
LINES: List[Tuple[Make, int]] = [
    (tiny, 8000),
    (small, 5000),
    (middle, 1500),
    (near, 500),
    (mixed, 500),
    (few, 400),
    (rare, 3),
    (large, 60),
]
KEPT = 4


class Ledger:
    """Blocks of known lines. Every STEP seconds a tenth of each line's blocks, the oldest, make room for new ones, and
    their number follows a slow wave. So a minute later every block is another one, and estimates a minute apart have
    no sample in common. The blocks of `kept` stay for ever."""

    def __init__(self, period: float, seed: int) -> None:
        self.period = period
        self.draw = random.Random(seed)
        self.generations: Dict[str, Deque[List[bytes]]] = {make.__name__: collections.deque() for make, _ in LINES}
        self.kept: List[bytes] = []
        self.sizes: Dict[str, int] = {}
        self.counts: Dict[str, int] = {}
        self.steps = 0

    def step(self) -> None:
        wave = 1 + SWING * math.sin(2 * math.pi * self.steps * STEP / self.period)
        for make, count in LINES:
            generations = self.generations[make.__name__]
            if len(generations) == STEPS:
                generations.popleft()
            # Rounded at random: the mean is right for three blocks in ten generations, too.
            new = int(count * wave / STEPS + self.draw.random())
            generations.append([make(self.draw) for _ in range(new)])
        self.kept.extend([kept(self.draw) for _ in range(KEPT)])
        self.steps += 1
        for name, generations in self.generations.items():
            self.sizes[name] = sum(sys.getsizeof(block) for blocks in generations for block in blocks)
            self.counts[name] = sum(len(blocks) for blocks in generations)
        self.sizes["kept"] = sum(map(sys.getsizeof, self.kept))
        self.counts["kept"] = len(self.kept)


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def run_ledger(period: float, seed: int) -> None:
    ledger = Ledger(period, seed)
    for _ in range(STEPS):
        ledger.step()
    due = time.monotonic()
    while True:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        say(
            since=time.time_ns(),
            sizes=ledger.sizes,
            counts=ledger.counts,
            info=_core._info(),
            processor=usage.ru_utime + usage.ru_stime,
            threads=Pages.threads,
            reloads=Pages.reloads,
            answers=Pages.answers,
        )
        due += STEP
        time.sleep(max(0.0, due - time.monotonic()))
        say(until=time.time_ns())
        ledger.step()


# ---- code that is never the same ----

#: Functions of a reload, beside a few that are the same for all pages.
FUNCTIONS = 12

RELOADS_KEPT = 10

SOURCE = """
# Reload {number}.
{padding}
def heading_{number}(user):
    return "<h1>" + user + " of {number}</h1>" + "-" * (300 + {number} % 50)

{functions}

class Page_{number}:
    def __init__(self, user):
        rows = [{names}]
        self.parts = [heading_{number}(user)] + rows[len(user) * ord(user[-1]) % len(rows)](60)

    def text(self):
        return "".join(self.parts)

def page(user):
    return Page_{number}(user)
"""

FUNCTION = """
def {name}(count):
    return ["<tr><td>{name} " + "x" * (40 + i) + "</td></tr>" for i in range(count)]
"""


def source(number: int) -> str:
    names = ["rows_{}_{}".format(number, i) for i in range(FUNCTIONS)]
    return SOURCE.format(
        number=number,
        padding="\n" * (number % 97),
        functions="".join(FUNCTION.format(name=name) for name in names),
        names=", ".join(names),
    )


class Pages:
    """The module that answers, reloaded every second with changed source."""

    threads = 0
    reloads = 0
    answers = 0

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, MODULE + ".py")
        sys.path.insert(0, directory)
        sys.dont_write_bytecode = True  # or a second source of the same second would be taken for the first
        self.write()
        self.module: ModuleType = importlib.import_module(MODULE)
        self.recent: Deque[Any] = collections.deque(maxlen=1000)

    def write(self) -> None:
        with open(self.path, "w") as file:
            file.write(source(self.reloads))

    def run(self) -> None:
        while True:
            time.sleep(1)
            Pages.reloads += 1
            self.write()
            self.module = importlib.reload(self.module)
            self.forget(self.reloads - RELOADS_KEPT)

    def forget(self, number: int) -> None:
        """A reload leaves names that the new source does not have. Nobody is in that code any more."""
        for name in list(vars(self.module)):
            if name.split("_")[1:2] == [str(number)]:
                delattr(self.module, name)

    def answer(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        page = self.module.page(environ["PATH_INFO"][1:])
        self.recent.append(page)
        Pages.answers += 1
        start_response("200 OK", [("Content-Type", "text/html")])
        return [page.text().encode()]


# ---- threads ----


def work(number: int) -> None:
    data = ("%d " % number * 2000).encode()
    if zlib.decompress(zlib.compress(data, 1)) != data:
        raise AssertionError("zlib")


def run_threads() -> None:
    while True:
        time.sleep(0.025)
        thread = threading.Thread(target=work, args=(Pages.threads,))
        thread.start()
        Pages.threads += 1
        thread.join()


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def address_string(self) -> str:
        return str(self.client_address[0])  # no name service


def main() -> None:
    parser = argparse.ArgumentParser(description="The server that soak.py records.")
    parser.add_argument("directory", help="where its changing module is written")
    parser.add_argument("--period", type=float, default=300.0, help="seconds of a wave of the ledger")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pages = Pages(options.directory)
    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(pages.answer)
    lines = {make.__name__: make.__code__.co_firstlineno + 1 for make in [make for make, _ in LINES] + [kept]}
    say(port=server.server_port, file=os.path.abspath(__file__), lines=lines, pid=os.getpid())
    for target in (pages.run, run_threads):
        threading.Thread(target=target, daemon=True).start()
    threading.Thread(target=run_ledger, args=(options.period, options.seed), daemon=True).start()
    server.serve_forever(poll_interval=5.0)


if __name__ == "__main__":
    main()
