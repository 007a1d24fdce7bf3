# SPDX-License-Identifier: MIT
"""Hazard 20: other tools in the same process, in any order of start and stop; and every allocator Python has."""

from __future__ import annotations

import ast
import collections
import os
import sys
import tempfile
from typing import Any, List, Tuple

import pytest
from harness import FREE_THREADED, RAW, TIMEOUT, blocks, finish, isolated, recording, run, start

ALLOCATORS = ["malloc", "debug", "pymalloc", "malloc_debug", "pymalloc_debug"]
if FREE_THREADED:
    ALLOCATORS = ["mimalloc", "debug", "mimalloc_debug"]

# Prints every block that the program below made: its size and its stack.
COMPARED = """
import gc, sys
{load}

class Slotted:
    __slots__ = ("a", "b", "c", "d", "e", "f", "g", "h", "payload")

def small():
    return [bytes(20 + i) for i in range(0, 700, 7)]

def large():
    return [bytearray(500 + 1000 * i) for i in range(50)]

def growing():
    items = []
    for i in range(5000):
        items.append(None)
    table = {{}}
    for i in range(3000):
        table[i] = None
    members = set(range(2000))
    buffer = bytearray()
    for i in range(300):
        buffer += b"x" * 101
    shrunk = bytearray(200000)
    del shrunk[100:]
    return items, table, members, buffer, shrunk

def text():
    return ["\\u20ac" * i + "x" for i in range(1, 300, 3)] + [str(10 ** i) for i in range(50, 600, 50)]

def objects():
    made = []
    for i in range(200):
        item = Slotted()
        item.payload = tuple(range(100 + i % 7))
        made.append(item)
    return made

def recursive(depth):
    return [bytearray(3000 + depth), recursive(depth - 1) if depth else None]

def lazily():
    for i in range(50):
        yield bytearray(700 + i)

def given_back():
    for i in range(2000):
        bytearray(i)
        [None] * i

def program():
    given_back()
    return [small(), large(), growing(), text(), objects(), recursive(30), list(lazily())]

gc.disable()
warm = program()
del warm
{begin}
kept = program()
last = sys._getframe().f_lineno
traces = {traces}
{end}
result = []
for trace in traces:
    frames = [(frame[0], frame[1]) for frame in trace[2]]
    if frames[0][0] == "<string>" and frames[0][1] < last:
        result.append((trace[1], frames))
print(sorted(result))
"""
TRACEMALLOC = COMPARED.format(
    load="import tracemalloc",
    begin="tracemalloc.start(50)",
    traces="tracemalloc._get_traces()",
    end="tracemalloc.stop()",
)
MPROFILE = COMPARED.format(
    # start() would load the class, and take of what the warm-up has left in free lists.
    load="from mprofile import _core; __import__('mprofile').Snapshot",
    begin="_core.start(50, 0)",
    traces="_core._get_traces()",
    end="_core.stop()",
)

Made = Tuple[int, List[Tuple[str, int]]]


def made(program: str, allocator: str) -> List[Made]:
    lines = run(program, PYTHONMALLOC=allocator, PYTHONHASHSEED="0")
    found = ast.literal_eval(lines)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_hazard_20_the_same_numbers_as_tracemalloc(allocator: str) -> None:
    """Block for block: each counted once, its size as requested, its stack the same; whatever the allocator."""
    theirs = made(TRACEMALLOC, allocator)
    ours = made(MPROFILE, allocator)
    assert len(theirs) > 1000
    theirs_counted, ours_counted = (collections.Counter(map(repr, each)) for each in (theirs, ours))
    assert theirs_counted - ours_counted == ours_counted - theirs_counted == collections.Counter()


@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_hazard_20_the_same_program_sampled(allocator: str) -> None:
    """At 4 KiB, under each allocator: the blocks of 10 kB and more, which are samples nine times out of ten or more."""
    sampled = COMPARED.format(
        load="from mprofile import _core",
        begin="_core.start(50, 4096, seed=20)",
        traces="_core._get_traces()",
        end="_core.stop()",
    )
    theirs = [block for block in made(TRACEMALLOC, allocator) if block[0] >= 10000]
    ours = [block for block in made(sampled, allocator) if block[0] >= 10000]
    assert all(block in theirs for block in ours)
    assert 0.8 * len(theirs) <= len(ours) <= len(theirs)


def interleavings() -> List[str]:
    """All orders of two sessions of mprofile (M, m) and two of tracemalloc (T, t), upper case for start."""

    def merge(first: str, second: str) -> List[str]:
        if not first or not second:
            return [first + second]
        return [first[0] + rest for rest in merge(first[1:], second)] + [
            second[0] + rest for rest in merge(first, second[1:])
        ]

    return merge("MmMm", "TtTt")


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_20_tracemalloc_in_any_order(rate: int) -> None:
    """After each step blocks are made, resized and freed, and who records has them.

    One order has no remedy: a tool that was started before and stops during a recording puts back the allocators it
    found, and with its own hooks takes ours away. Nothing is recorded from then on; the next start() is whole again.
    """
    import tracemalloc

    import _hazard_mem as mem

    from mprofile import _core

    for order in interleavings():
        kept: List[int] = []
        ours_below = cut_off = False
        for step, event in enumerate(order):
            if event == "M":
                _core.start(10, rate)
                cut_off, ours_above = False, tracemalloc.is_tracing()
            elif event == "m":
                _core.stop()
            elif event == "T":
                tracemalloc.start(10)
                ours_below = _core.is_tracing() and not cut_off
            else:
                tracemalloc.stop()
                cut_off = cut_off or (_core.is_tracing() and ours_above and not ours_below)
                ours_below = ours_above = False
            size = 5003 + step
            new = mem.many(RAW, size, 10)
            if _core.is_tracing() and not cut_off:
                assert len(blocks(size)) == 10, (order, step)
                assert _core._valid(), (order, step)
                moved = mem.realloc(RAW, new[0], 7001 + step)
                assert len(blocks(size)) == 9 and len(blocks(7001 + step)) == 1, (order, step)
                new[0] = moved
            if tracemalloc.is_tracing():
                theirs = [trace for trace in tracemalloc._get_traces() if trace[1] in (size, 7001 + step)]
                assert len(theirs) == 10, (order, step)
            kept += new
        assert not _core.is_tracing() and not tracemalloc.is_tracing()
        with recording(sample_rate=rate):
            again = mem.many(RAW, 5003, 10)
            assert len(blocks(5003)) == 10, order
            mem.release(RAW, kept)
            mem.release(RAW, again)
            assert blocks(*range(5003, 5011)) == [], order


def test_hazard_20_tracemalloc_from_the_beginning() -> None:
    """python -X tracemalloc, and mprofile on top of it."""
    out = run(
        """if True:
        import tracemalloc
        from mprofile import _core
        _core.start(10, 0)
        kept = bytearray(5002)
        ours = [trace[1] % 32 for trace in _core._get_traces() if trace[1] in (5003, 5035)]
        traces = tracemalloc.take_snapshot().traces
        theirs = [trace.size % 32 for trace in traces if trace.size in (5003, 5035)]
        _core.stop()
        more = bytearray(5008)
        traces = tracemalloc.take_snapshot().traces
        theirs += [trace.size % 32 for trace in traces if trace.size in (5009, 5041)]
        print(ours, theirs)
        """,
        "-X",
        "tracemalloc=5",
    )
    assert out.strip() == "[11] [11, 17]"  # with or without a header of 32 bytes (3.15)


@pytest.mark.skipif(
    sys.version_info[:2] in ((3, 9), (3, 10)),
    reason="faulthandler counts references without the GIL there, and such a program crashes without a profiler, too",
)
@pytest.mark.parametrize("rate", [0, 512])
@isolated
def test_hazard_20_faulthandler_while_recording(rate: int) -> None:
    """Stacks of all threads are written, from a timer and from a signal, while threads allocate."""
    import faulthandler
    import signal
    import threading
    import time

    def work() -> None:
        while not stop.is_set():
            [bytearray(i) for i in range(50)]

    def stacks() -> int:
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).count(b"in work")

    stop = threading.Event()
    threads = [threading.Thread(target=work) for _ in range(2)]
    with tempfile.TemporaryFile("w+") as file:
        with recording(sample_rate=rate):
            for thread in threads:
                thread.start()
            faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)
            faulthandler.dump_traceback_later(0.01, repeat=True, file=file)
            until = time.monotonic() + 0.5
            while time.monotonic() < until or (stacks() <= 10 and time.monotonic() < until + 120):
                os.kill(os.getpid(), signal.SIGUSR1)
                [bytearray(i) for i in range(50)]
            faulthandler.cancel_dump_traceback_later()
            faulthandler.unregister(signal.SIGUSR1)
            stop.set()
            for thread in threads:
                thread.join()
        file.seek(0)
        assert file.read().count("in work") > 10


def test_hazard_20_faulthandler_after_a_crash() -> None:
    """A crash is still told by faulthandler, and the process dies of the signal it would have died of."""
    code = "from mprofile import _core; _core.start(); import faulthandler, os; faulthandler.enable(); os.abort()"
    process = start([sys.executable, "-c", code])
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == -6
    assert "Fatal Python error: Aborted" in err and 'File "<string>", line 1' in err


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_20_trace_and_profile_functions(rate: int) -> None:
    """sys.settrace and sys.setprofile: the program's blocks keep their stacks, the tracer's have their own."""
    noise: List[bytearray] = []

    def tracer(frame: Any, event: str, argument: Any) -> Any:
        noise.append(bytearray(6006))
        return tracer

    def profiler(frame: Any, event: str, argument: Any) -> None:
        noise.append(bytearray(6008))

    def leaf() -> bytearray:
        made = bytearray(5002)
        return made

    def branch() -> List[bytearray]:
        return [leaf() for _ in range(10)]

    with recording(sample_rate=rate):
        plain = branch()
        expected = sorted(block.frames[:2] for block in blocks(5003))
        del plain
        sys.settrace(tracer)
        sys.setprofile(profiler)
        traced = branch()
        sys.setprofile(None)
        sys.settrace(None)
        assert sorted(block.frames[:2] for block in blocks(5003)) == expected
        assert len(blocks(6007)) > 20 and {block.names[0] for block in blocks(6007)} == {"tracer"}
        assert {block.names[0] for block in blocks(6009)} == {"profiler"}
        assert any("leaf" in block.names for block in blocks(6007))
        del traced


@isolated
def test_hazard_20_a_debugger() -> None:
    """bdb, the half of pdb without a prompt, stops at each line."""
    import bdb

    class Debugger(bdb.Bdb):
        lines = 0

        def user_line(self, frame: Any) -> None:
            self.lines += 1
            self.set_step()

    def debugged() -> List[bytearray]:
        made = []
        for _ in range(10):
            made.append(bytearray(5002))
        return made

    debugger = Debugger()
    with recording():
        kept = debugger.runcall(debugged)
        assert debugger.lines > 20
        assert [block.names[:2] for block in blocks(5003)] == [["debugged", "runcall"]] * 10
        del kept


@pytest.mark.module("coverage")
@pytest.mark.parametrize("rate", [0, 2])
def test_hazard_20_coverage(rate: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "covered.py")
        with open(path, "w") as file:
            file.write(
                "from mprofile import _core\n"
                "_core.start(10, {})\n"
                "def make():\n"
                "    return bytearray(5002)\n"
                "kept = [make() for _ in range(10)]\n"
                "found = [trace[2][0][1] for trace in _core._get_traces() if trace[1] in (5003, 5035)]\n"
                "print(found, _core._valid())\n".format(rate)
            )
        data = os.path.join(directory, "data")
        out = finish(start([sys.executable, "-m", "coverage", "run", "--data-file=" + data, path]))
        assert out == "{} True\n".format([4] * 10)
        assert os.path.exists(data)
