# SPDX-License-Identifier: MIT
"""Programs with planted leaks and programs without any, for the tests of `mprofile leaks` and its measured precision.

    python tests/integration/leaky.py CASE SEED SAMPLE_RATE DIRECTORY

CASE is one of CASES. The program works in PHASES steps that begin with a warm-up, and writes a profile after each into
DIRECTORY: 000.pb.gz, 001.pb.gz, ... What leaks does so in functions whose names begin with `leak_`. All cases have the
same innocent company: caches that fill and stay full, a pool of threads, generators, json, regular expressions, cycles
that wait for the collector.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import queue
import random
import re
import sys
import threading
from typing import Any, Callable, Dict, Iterator, List

import mprofile

PHASES = 20
STEPS = 300  # of work a phase


# ---- what leaks ----


class Leak:
    """Base of what leaks: step() is called STEPS times a phase, leaks() tells when, about every fourth time."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw

    def step(self) -> None:
        if self.draw.random() < 0.25:
            self.leak()

    def leak(self) -> None:
        raise NotImplementedError


class UnboundedCache(Leak):
    """A cache whose keys never come again."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self.entries: Dict[int, bytes] = {}

    def leak(self) -> None:
        self.entries[self.draw.getrandbits(62)] = leak_page(self.draw)


def leak_page(draw: random.Random) -> bytes:
    return bytes(draw.randrange(500, 4000))


class Subject:
    def __init__(self) -> None:
        self.listeners: List[Callable[[], object]] = []

    def subscribe(self, listener: Callable[[], object]) -> None:
        self.listeners.append(listener)


class ListenerList(Leak):
    """Views that come and go, and never unsubscribe."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self.subject = Subject()

    def leak(self) -> None:
        leak_view(self.subject, [str(self.draw.random()) for _ in range(self.draw.randrange(20, 60))])


class FloatListeners(ListenerList):
    """The same with rows that come from the interpreter's free list: others allocated their memory, and freed it."""

    def leak(self) -> None:
        leak_view(self.subject, [self.draw.random() for _ in range(self.draw.randrange(20, 60))])


class View:
    def __init__(self, rows: List[Any]) -> None:
        self.rows = rows

    def changed(self) -> None:
        del self.rows[:]


def leak_view(subject: Subject, rows: List[Any]) -> None:
    view = View(rows)
    subject.subscribe(view.changed)


class ForgottenReference(Leak):
    """An extension module that takes a reference and never gives it back."""

    def leak(self) -> None:
        leak_buffer(self.draw)


def leak_buffer(draw: random.Random) -> None:
    buffer = bytearray(draw.randrange(1000, 3000))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(buffer))


class ThreadClosure(Leak):
    """A thread that keeps what it has done, with all that its jobs close over."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self.jobs: "queue.Queue[Any]" = queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        done = []
        while True:
            job = self.jobs.get()
            job()
            done.append(job)
            self.jobs.task_done()

    def leak(self) -> None:
        leak_job(self.jobs, self.draw)
        self.jobs.join()


def leak_job(jobs: "queue.Queue[Any]", draw: random.Random) -> None:
    request = "x" * draw.randrange(500, 4000)
    jobs.put(lambda: len(request))


class Nothing(Leak):
    def leak(self) -> None:
        pass


LEAKS = {
    "cache": UnboundedCache,
    "listeners": ListenerList,
    "reference": ForgottenReference,
    "closure": ThreadClosure,
    "floats": FloatListeners,
    "none": Nothing,
}


# ---- what does not ----


class Company:
    """Work that allocates, keeps for a while, and lets go."""

    def __init__(self, draw: random.Random, warm_up: float) -> None:
        self.draw = draw
        self.size = int(warm_up * STEPS * PHASES * 2)  # of the least recently used cache, full after the warm-up
        self.lru = functools.lru_cache(maxsize=self.size)(make_row)
        self.next_key = 0
        self.jobs: "queue.Queue[Any]" = queue.Queue()
        for _ in range(3):
            threading.Thread(target=serve, args=(self.jobs,), daemon=True).start()
        self.recent: List[bytes] = []

    def step(self) -> None:
        draw = self.draw
        for _ in range(2):
            self.next_key += 1
            self.lru(self.next_key)
            self.lru(draw.randrange(max(1, self.next_key - self.size // 2), self.next_key + 1))
        json.loads(json.dumps({"rows": [draw.random() for _ in range(draw.randrange(100))], "name": "n" * 200}))
        re.compile("a{%d}b" % draw.randrange(1, 300)).match("aab")
        sum(numbers(draw.randrange(500)))
        make_cycle(draw)
        self.recent.append(bytes(draw.randrange(2000)))
        if len(self.recent) > 200:
            del self.recent[: draw.randrange(200)]
        self.jobs.put(draw.randrange(5000))


def make_row(key: int) -> bytes:
    return bytes(300 + key % 500)


def numbers(count: int) -> Iterator[int]:
    held = [bytes(50) for _ in range(count)]
    for number in range(len(held)):
        yield number


def make_cycle(draw: random.Random) -> None:
    ring: List[Any] = [bytes(draw.randrange(300))]
    ring.append(ring)


def serve(jobs: "queue.Queue[Any]") -> None:
    while True:
        answer = bytearray(jobs.get())
        answer.extend(b"end")
        jobs.task_done()


CASES = list(LEAKS)


def main(case: str, seed: int, sample_rate: int, directory: str) -> None:
    draw = random.Random(seed)
    mprofile.start(sample_rate=sample_rate, seed=seed)
    leak = LEAKS[case](draw)
    company = Company(draw, warm_up=draw.uniform(0.1, 0.3))
    for phase in range(PHASES):
        for _ in range(STEPS):
            company.step()
            leak.step()
        company.jobs.join()
        mprofile.take_snapshot().write_pprof(os.path.join(directory, "{:03}.pb.gz".format(phase)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
