# SPDX-License-Identifier: MIT
"""Any program gets the same numbers from mprofile in exact mode as from tracemalloc.

Hypothesis makes the programs: blocks of all kinds that are made, resized and freed, by functions, generators, methods
and threads, with start, stop, clear_traces and snapshots in between. properties_worker.py runs them.

PROPERTY_EXAMPLES=N and PROPERTY_SEED=S in the environment make a longer search (property_settings.py).
"""

from __future__ import annotations

import collections
import glob
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import tracemalloc
from typing import Any, Iterator, List, Tuple

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from properties_worker import PROGRAM, SLOTS
from property_settings import examples

import mprofile

TIMEOUT = 60.0

PRELUDE = """
class Plain:
    def __init__(self, size):
        self.payload = bytearray(size)
        self.size = size

class Slotted:
    __slots__ = ("payload", "other")
    def __init__(self, size):
        self.payload = "x" * size

def nested(depth, make):
    if depth == 0:
        return make()
    return nested(depth - 1, make)

def produced(size):
    for i in range(size):
        yield bytearray(size + i)

def caught(size):
    try:
        raise ValueError(bytearray(size))
    except ValueError as error:
        return error.args[0]

def resized(old, size):
    if isinstance(old, bytearray):
        old.extend(b"x" * size)
        del old[size // 2:]
    elif isinstance(old, list):
        for i in range(size):
            old.append(None)
        del old[size // 3:]
    elif isinstance(old, dict):
        old.update((i, None) for i in range(size))
    elif isinstance(old, set):
        old.update(range(size))
    return old

def program(slots, session):
"""

Lines = List[str]

slot = st.integers(0, SLOTS - 1)
small = st.integers(0, 20)
size = st.one_of(st.integers(0, 600), st.sampled_from([511, 512, 513, 4096, 40000, 1 << 20]))

MAKERS = [
    ("bytearray({})", size),
    ("b'x' * {}", size),
    ("'\\u20ac' * {}", size),
    ("[None] * {}", size),
    ("[*range({})]", st.integers(0, 600)),
    ("[i for i in range({})]", st.integers(0, 600)),
    ("tuple(range({}))", small),
    ("{{i: None for i in range({})}}", st.integers(0, 300)),
    ("set(range({}))", st.integers(0, 300)),
    ("[bytearray(i) for i in range({})]", small),
    ("[[i] for i in range({})]", st.integers(0, 4)),
    ("[i + 0.5 for i in range({})]", st.integers(0, 6)),
    ("10 ** {}", st.integers(0, 600)),
    ("str(10 ** {})", st.integers(0, 300)),
    ("Plain({})", size),
    ("Slotted({})", size),
    ("[*produced({})]", small),
    ("caught({})", size),
    ("','.join(map(str, range({})))", st.integers(0, 300)),
]

maker = st.one_of([numbers.map(text.format) for text, numbers in MAKERS])


def statement(text: str, *values: Any) -> Any:
    return st.tuples(*values).map(lambda drawn: [text.format(*drawn)])


SIMPLE = [
    statement("slots[{}] = {}", slot, maker),
    statement("slots[{}] = {}", slot, maker),
    statement("slots[{}] = nested({}, lambda: {})", slot, st.integers(0, 30), maker),
    statement("slots[{0}] = resized(slots[{0}], {1})", slot, st.integers(0, 2000)),
    statement("slots[{}] = None", slot),
    statement("slots[{}] = slots[{}]", slot, slot),
    statement("slots[{}] = bytes(range(200))[{}:{}]", slot, small, st.integers(20, 200)),
]

CONTROL = [
    statement("session.{}()", st.sampled_from(["snap", "snap", "snap", "clear", "restart", "reset_peak"])),
]


def block(of: Any) -> Any:
    return st.lists(of, min_size=1, max_size=4).map(lambda parts: [line for part in parts for line in part])


def indented(head: str, body: Lines, *tail: str) -> Lines:
    return [head, *("    " + line for line in body), *tail]


def compound(inner: Any) -> List[Any]:
    return [
        st.tuples(st.integers(0, 8), block(inner)).map(lambda p: indented("for n in range({}):".format(p[0]), p[1])),
        block(inner).map(lambda body: indented("def work():", body, "work()")),
    ]


inner = st.one_of(*SIMPLE, *compound(st.one_of(*SIMPLE)))
in_thread = block(inner).map(lambda body: indented("def work():", body, "session.in_thread(work)"))
programs = st.lists(st.one_of(*SIMPLE, *compound(inner), *CONTROL), min_size=1, max_size=14)
programs_with_threads = st.lists(st.one_of(*SIMPLE, *CONTROL, in_thread), min_size=1, max_size=10)


def source_of(statements: List[Lines]) -> str:
    return PRELUDE + textwrap.indent("\n".join(line for lines in statements for line in lines) + "\n", "    ")


# ---- running ----


class Worker:
    def __init__(self) -> None:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "properties_worker.py")
        environment = dict(os.environ, PYTHONHASHSEED="0", PYTHONFAULTHANDLER="1")
        for name in ("PYTHONMALLOC", "PYTHONTRACEMALLOC", "MPROFILERATE"):
            environment.pop(name, None)
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, path],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            universal_newlines=True,
        )

    def run(self, source: str, frames: int, directory: str) -> None:
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps({"source": source, "frames": frames, "directory": directory}) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            timer.cancel()
        self.errors.seek(0)
        assert answer == "[]\n", (answer, self.errors.read())

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()
        self.errors.close()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.end()


Taken = Tuple[Any, Any]  # a snapshot, and current and peak size


def taken(directory: str, tool: Any) -> List[Taken]:
    found = []
    for path in sorted(glob.glob(os.path.join(directory, tool.__name__ + "-??"))):
        with open(path + ".totals") as file:
            found.append((tool.Snapshot.load(path), json.load(file)))
    return found


# ---- comparing ----

KEYS = [("lineno", False), ("filename", False), ("traceback", False), ("lineno", True), ("filename", True)]


def texts(items: Any) -> List[str]:
    return [repr(item) for item in items]


def counted(snapshot: Any) -> Any:
    """Traces with their numbers. Of stacks that are cut alike mprofile keeps one total of frames, the first met."""
    traces = []
    for trace in snapshot.traces._traces:
        whole = len(trace[2]) < snapshot.traceback_limit
        traces.append(tuple(trace) if whole else tuple(trace[:3]))
    return collections.Counter(traces)


def compare(source: str, frames: int, ours: List[Taken], theirs: List[Taken], peaks: bool) -> None:
    assert len(ours) == len(theirs) == source.count("session.snap()") + 1
    old_of_ours = old_of_theirs = None
    for (our, our_totals), (their, their_totals) in zip(ours, theirs):
        # Blocks of the program's own lines; those of the tools' are each tool's own.
        our = our.filter_traces([mprofile.Filter(True, PROGRAM)])
        their = their.filter_traces([tracemalloc.Filter(True, PROGRAM)])
        assert our.traceback_limit == their.traceback_limit == frames
        assert counted(our) == counted(their)
        assert our_totals[:1] == their_totals[:1]
        assert our_totals == their_totals or not peaks
        for key_type, cumulative in KEYS:
            assert texts(our.statistics(key_type, cumulative)) == texts(their.statistics(key_type, cumulative))
            if old_of_ours is not None:
                difference = our.compare_to(old_of_ours, key_type, cumulative)
                assert texts(difference) == texts(their.compare_to(old_of_theirs, key_type, cumulative))
        lines = sorted({frame[1] for trace in their.traces._traces for frame in trace[2] if frame[0] == PROGRAM})
        some = lines[-2:]  # of the function that calls all others, hence seldom innermost
        for filters in ([(False, PROGRAM, line) for line in some], [(True, PROGRAM, line, True) for line in some]):
            our_part = our.filter_traces([mprofile.Filter(*one) for one in filters])
            their_part = their.filter_traces([tracemalloc.Filter(*one) for one in filters])
            assert counted(our_part) == counted(their_part)
        old_of_ours, old_of_theirs = our, their


def check(worker: Worker, statements: List[Lines], frames: int, peaks: bool) -> None:
    source = source_of(statements)
    with tempfile.TemporaryDirectory() as directory:
        worker.run(source, frames, directory)
        compare(source, frames, taken(directory, mprofile), taken(directory, tracemalloc), peaks)


unchecked = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@examples(50, suppress_health_check=unchecked)
@given(statements=programs, frames=st.sampled_from([1, 2, 5, 50]))
def test_any_program_as_under_tracemalloc(worker: Worker, statements: List[Lines], frames: int) -> None:
    check(worker, statements, frames, True)


@examples(25, suppress_health_check=unchecked)
@given(statements=programs_with_threads, frames=st.sampled_from([1, 50]))
def test_any_program_with_threads_as_under_tracemalloc(worker: Worker, statements: List[Lines], frames: int) -> None:
    """Peaks are left out: what the interpreter has for a thread is given back some time after the thread has ended."""
    check(worker, statements, frames, False)
