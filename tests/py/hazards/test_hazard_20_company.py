# SPDX-License-Identifier: MIT
"""Hazard 20: coverage, faulthandler and ddtrace's memory profiler beside a recording, started and stopped in every
order. Those of tracemalloc are in test_hazard_20_other_tools.py, those of memray in test_hazard_20_orders.py."""

from __future__ import annotations

import collections
import itertools
import os
import re
import sys
import tempfile
from typing import Any, Counter, Dict, List, Tuple

import pytest
from harness import ONE_AND_TWO, TWO_AND_ONE, blocks, isolated, merged, run

#: What the next tests allocate at each step: as many of each size, one that pymalloc keeps and one that it passes on.
COUNT, SMALL, LARGE = 20, sys.getsizeof(bytes(300)), 5003
STEPS = 6
RATES = (0, 2)  # everything, and samples so dense that these blocks are among them

Lines = Tuple[Tuple[str, int, str], ...]


def found(path: str) -> Counter[Tuple[int, int]]:
    """How many blocks of these sizes there are, by line of the file and size."""
    known = [block for block in blocks(SMALL, LARGE) if block.frames[0][0] == path]
    return collections.Counter((block.frames[0][1], block.size) for block in known)


# ---- coverage ----

#: work(step) has lines of its own for each step, so those that were executed tell the steps that coverage has seen.
COVERED = "def work(step):\n    kept = []\n" + "".join(
    "    if step == {}:\n"
    "        for _ in range({}):\n"
    "            kept.append(bytearray(5002))\n"
    "            kept.append(bytes(300))\n".format(step, COUNT)
    for step in range(STEPS)
)
COVERED += "    return kept\n"


@pytest.mark.module("coverage")
@isolated
def test_hazard_20_coverage_in_any_order() -> None:
    """Each block is found at its line, whoever traces lines meanwhile; and these are the lines that coverage finds
    where there is no mprofile."""
    import coverage

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(os.path.realpath(directory), "covered.py")
        with open(path, "w") as file:
            file.write(COVERED)
        program: Dict[str, Any] = {}
        exec(compile(COVERED, path, "exec"), program)
        work = program["work"]

        def session(order: str, profiler: Any = None, rate: int = 0) -> List[int]:
            """The lines that coverage has seen executed."""
            tool = coverage.Coverage(data_file=None, config_file=False, include=[path])
            for step, event in enumerate(order):
                if event == "T":
                    tool.start()
                elif event == "t":
                    tool.stop()
                elif profiler is not None:
                    profiler.start(20, rate) if event == "M" else profiler.stop()
                kept = work(step)
                recorded = profiler is not None and profiler.is_tracing()
                if recorded:
                    line = 5 + 4 * step
                    assert profiler._valid(), (order, step)
                    assert found(path) == {(line, LARGE): COUNT, (line + 1, SMALL): COUNT}, (order, step, found(path))
                del kept
                if recorded:
                    assert not found(path), (order, step, found(path))
            assert profiler is None or not profiler.is_tracing(), order
            return sorted(tool.get_data().lines(path) or [])

        expected = {order: session(order) for order in TWO_AND_ONE}
        for order, lines in expected.items():
            steps = [step for step in range(STEPS) if 5 + 4 * step in lines]
            assert steps == list(range(order.index("T"), order.index("t"))), (order, lines)

        from mprofile import _core

        for rate in RATES:
            assert {order: session(order, _core, rate) for order in TWO_AND_ONE} == expected, rate


# ---- faulthandler ----


def stack_of(frame: Any) -> Lines:
    """A frame and those that called it, as (file, line, name)."""
    frames = []
    while frame is not None:
        frames.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(frames)


def written(file: Any) -> Tuple[str, Lines]:
    """What faulthandler has written, the text and the frames in it."""
    file.seek(0)
    text = file.read()
    file.seek(0)
    file.truncate()
    frames = re.findall(r'^  File "(.*)", line (\d+) in (.*)$', text, re.MULTILINE)
    return text, tuple((path, int(line), name) for path, line, name in frames)


def made() -> List[object]:
    """The known blocks, all from one line."""
    return [value for _ in range(COUNT) for value in (bytearray(5002), bytes(300))]


@isolated
def test_hazard_20_faulthandler_in_any_order() -> None:
    """After each step the blocks are found. While faulthandler is enabled a child that crashes then leaves its stack,
    and nothing once it is disabled."""
    import faulthandler
    import resource
    import signal

    from mprofile import _core

    def crash() -> Lines:
        child = os.fork()
        expected = stack_of(sys._getframe()) if child else os.abort()  # one line, the same in parent and child
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT, status
        return expected

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    line = made.__code__.co_firstlineno + 2
    with tempfile.TemporaryFile("w+") as file:
        for rate, order in itertools.product(RATES, TWO_AND_ONE):
            for step, event in enumerate(order):
                if event == "M":
                    _core.start(20, rate)
                elif event == "m":
                    _core.stop()
                elif event == "T":
                    faulthandler.enable(file=file)
                else:
                    faulthandler.disable()
                enabled = order.index("T") <= step < order.index("t")
                assert faulthandler.is_enabled() == enabled, (order, step)
                kept = made()
                if enabled or event == "t":
                    expected = crash()
                    text, frames = written(file)
                    assert frames == (expected if enabled else ()), (order, step, text, expected)
                    assert ("Fatal Python error: Aborted" in text) == bool(text) == enabled, (order, step, text)
                if _core.is_tracing():
                    assert _core._valid(), (order, step)
                    assert found(__file__) == {(line, LARGE): COUNT, (line, SMALL): COUNT}, (order, step)
                del kept
                if _core.is_tracing():
                    assert not found(__file__), (order, step)
            assert not _core.is_tracing(), order


@isolated
def test_hazard_20_faulthandler_that_dumps_later() -> None:
    """Armed (A) before, in or after a session, and awaited (w) in any order with it: the stack is that of who waits,
    frame for frame, and a block that is made there has the same."""
    import faulthandler
    import time

    from mprofile import _core

    def wait(file: Any) -> Lines:
        until = time.monotonic() + 120
        early = os.fstat(file.fileno()).st_size > 0
        while not os.fstat(file.fileno()).st_size and time.monotonic() < until:
            kept.append(bytearray(5002))
            time.sleep(0.15)  # here the dump comes: up to 3.10 faulthandler counts references without the GIL
        faulthandler.cancel_dump_traceback_later()  # and waits for the end of it
        return () if early else stack_of(sys._getframe())

    def between(file: Any) -> Lines:
        return wait(file)

    def session(order: str, rate: int, delay: float) -> bool:
        """False if the dump has come before it was waited for."""
        expected: Lines = ()
        with tempfile.TemporaryFile("w+") as file:
            for event in order:
                if event == "M":
                    _core.start(128, rate)
                elif event == "m":
                    _core.stop()
                elif event == "A":
                    faulthandler.dump_traceback_later(delay, file=file)
                else:
                    expected = between(file)
                    text, frames = written(file)
                    assert text.startswith("Timeout (0:00:"), (order, text)
                    if expected:
                        first = wait.__code__.co_firstlineno
                        assert frames[0][2] == "wait" and first < frames[0][1] < first + 7, (order, text)
                        assert frames[1:] == expected[1:], (order, text, expected)
                    if expected and _core.is_tracing():
                        stacks = [block.frames[1:] for block in blocks(LARGE)]
                        plain = [tuple((f[0], f[1], str(f[2]).rpartition(".")[2]) for f in stack) for stack in stacks]
                        assert plain == [expected[1:]] * len(kept), (order, plain, expected)
        return bool(expected)

    for rate, order in itertools.product(RATES, merged("Mm", "Aw")):
        kept: List[bytearray] = []
        assert any(session(order, rate, delay) for delay in (0.1, 1, 10)), order


# ---- ddtrace ----

#: Arguments: the orders. Writes why it has not run, or "done".
DDTRACE = """
import ctypes, os, sys, threading
os.environ.update(DD_TRACE_ENABLED="false", DD_INSTRUMENTATION_TELEMETRY_ENABLED="false")
try:
    from ddtrace.profiling.collector import _memalloc
    from ddtrace.profiling.collector.memalloc import MemoryCollector
except ImportError as error:
    print("ddtrace cannot be imported:", error)
    sys.exit()
from mprofile import _core

small = sys.getsizeof(bytes(300))

class Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free")]

def hook():
    allocator = Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(2, ctypes.byref(allocator))
    return allocator.malloc

def made():
    return [value for _ in range(20) for value in (bytearray(5002), bytes(300))]

def found():
    sizes = [trace[1] for trace in _core._get_traces()
             if trace[1] in (small, 5003, 5035) and trace[2][0][:2] == ("<string>", made.__code__.co_firstlineno + 1)]
    return sizes.count(small), len(sizes) - sizes.count(small)

def work():
    while not over.wait(0.001):
        kept = [bytearray(50 * i) for i in range(100)]
        exec("def f():\\n  return [str(i) * i for i in range(100)]\\nf()")

def session(order, rate):
    tool = MemoryCollector(max_nframe=64, heap_sample_size=256)
    theirs = cut_off = ours_below = ours_above = False
    for number, event in enumerate(order):
        before = hook()
        if event == "M":
            _core.start(20, rate)
            cut_off, ours_above = False, theirs
        elif event == "m":
            _core.stop()
            assert not theirs or hook() == their_hook, (order, number)
        elif event == "T":
            tool.start()
            their_hook = hook()
            assert their_hook != before, "ddtrace hooks nothing"
            theirs, ours_below = True, _core.is_tracing() and not cut_off
        else:
            _memalloc.heap()  # fails if it does not run
            tool.stop()
            cut_off = cut_off or (_core.is_tracing() and ours_above and not ours_below)
            theirs = ours_below = ours_above = False
        kept = made()
        if _core.is_tracing():
            # ddtrace hooks objects alone, so what pymalloc passes on is found in any case.
            assert _core._valid(), (order, number)
            assert found() == (0 if cut_off else 20, 20), (order, number, found(), cut_off)
        del kept
        if _core.is_tracing():
            assert found() == (0, 0), (order, number, found())
    assert not _core.is_tracing()
    _core.start(20, rate)
    kept = made()
    assert found() == (20, 20), order
    _core.stop()

over = threading.Event()
thread = threading.Thread(target=work, daemon=True)  # so that what fails below ends the process
thread.start()
for rate in (0, 2):
    for order in sys.argv[1:]:
        session(order, rate)
over.set()
thread.join()
print("done")
"""


def test_hazard_20_ddtrace_in_any_order() -> None:
    """Its memory profiler, and a thread that allocates meanwhile. As with tracemalloc one order has no remedy: it was
    started before and stops during a recording. Then small objects are lost, which pass no other domain."""
    out = run(DDTRACE, arguments=[*TWO_AND_ONE, *ONE_AND_TWO])
    if out.startswith("ddtrace cannot be imported"):
        pytest.skip(out.strip() + " (pip install ddtrace)")
    assert out == "done\n"
