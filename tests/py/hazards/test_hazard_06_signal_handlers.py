# SPDX-License-Identifier: MIT
"""Hazard 6: signals that arrive in a hook, in a snapshot, in a start: their handler comes to the hooks itself."""

from __future__ import annotations

import os
import platform
import tempfile
from typing import List

import pytest
from harness import TIMEOUT, blocks, compile_library, isolated, run

#: Arguments: the library, the rate.
PROGRAM = """
import ctypes, sys, time
import _hazard_below as below
import _hazard_mem as mem
from mprofile import _core

library, rate = ctypes.CDLL(sys.argv[1]), int(sys.argv[2])
RAW = 0
below.install(RAW)
below.slot(101)
_core.start(20, rate)
assert library.interrupt_begin(100) == 0
until = time.monotonic() + 2
rounds = 0
def enough():
    return rounds > 20 and library.interrupt_count() > 1000
while time.monotonic() < until or (not enough() and time.monotonic() < until + 120):
    rounds += 1
    mem.churn(RAW, 5003, 2000)
    kept = mem.many(RAW, 6007, 50)
    _core.get_traced_memory()
    assert _core._valid()
    if rounds % 20 == 0:
        traces = _core._get_traces()
        drops = _core._info()["drops"]
        found = sum(trace[1] == 6007 for trace in traces)
        assert found == 50 or drops or rate == 4096, (found, drops)
        _core.reset_peak()
    mem.release(RAW, kept)
    if rounds % 200 == 0:
        _core.stop()
        _core.start(20, rate)
ran = library.interrupt_end()
sizes = [trace[1] for trace in _core._get_traces()]
assert _core._valid()
_core.stop()
print(ran > 1000, rounds > 20, sizes.count(101), sizes.count(5003), sizes.count(6007))
"""


@pytest.mark.skipif(
    os.environ.get("TESTS_SANITIZED") is not None, reason="the sanitizers do more in their hooks than a handler may"
)
@pytest.mark.parametrize("rate", [0, 2, 4096])
def test_hazard_06_a_signal_handler_that_allocates(rate: int, tmp_path: object) -> None:
    """10,000 times a second, wherever the program is, in a hook as well. It neither waits for itself nor leaves
    anything behind, and what others hold stays recorded."""
    library = compile_library("interrupt.c", tmp_path)
    assert run(PROGRAM, arguments=[library, str(rate)]) == "True True 0 0 0\n"


#: Arguments: the library, the rate. Each way of C to call Python code and to come back from it, between other calls
#: that leave something else where the C stack was.
STEPS = """
import ctypes, sys
import _hazard_below as below
from mprofile import _core

library, rate = ctypes.PyDLL(sys.argv[1]), int(sys.argv[2])

class Thing:
    def __init__(self, number):
        self.number = number
    def __lt__(self, other):
        return self.number < other.number
    def __del__(self):
        self.number = [self.number]

def generator(number):
    try:
        for i in range(number):
            yield [i]
    finally:
        number = str(number)

def outer(number):
    return (yield from generator(number))

async def inner_coroutine(number):
    return [number]

async def coroutine(number):
    return await inner_coroutine(number)

def deep(number):
    return deep(number - 1) if number else next(iter([[number]]))

def run():
    suspended = outer(4)
    next(suspended)
    next(suspended)
    del suspended
    kept = [next(generator(2)), list(outer(2)), deep(3), list(map(lambda x: [x], range(2)))]
    try:
        sum(x for x in generator(2))
    except TypeError:
        kept.append(sorted([Thing(2), Thing(1)])[0].number)
    try:
        coroutine(1).send(None)
    except StopIteration as stop:
        kept.append(stop.value)
    return kept

below.install(0)
below.slot(101)
_core.start(20, rate)
expected = run()
assert library.step_begin() == 0
found = run()
steps = library.step_end()
assert found == expected and _core._valid()
sizes = [trace[1] for trace in _core._get_traces()]
_core.stop()
print(steps > 10000, sizes.count(101))
"""


@pytest.mark.skipif(
    os.environ.get("TESTS_SANITIZED") is not None, reason="the sanitizers do more in their hooks than a handler may"
)
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "i686"), reason="no other processor stops after each instruction when told to"
)
@pytest.mark.parametrize("rate", [0, 2])
def test_hazard_06_a_signal_handler_after_each_instruction(rate: int, tmp_path: object) -> None:
    """So it comes in the middle of every push of a frame, too. CPython 3.11 and 3.12 point to a frame for some twenty
    instructions there before they have written where it is."""
    library = compile_library("interrupt.c", tmp_path)
    # A million signals when every block is recorded: nine seconds on a quiet machine.
    assert run(STEPS, arguments=[library, str(rate)], timeout=4 * TIMEOUT) == "True 0\n"


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_06_a_python_signal_handler_that_does_everything(rate: int) -> None:
    """A handler in Python runs between two instructions: it may start, stop, copy, record and clear."""
    import signal
    import time

    import mprofile
    from mprofile import _core

    ran: List[int] = []
    over: List[bool] = []
    with tempfile.TemporaryDirectory() as directory:

        def handler(number: int, frame: object) -> None:
            step = len(ran) % 6
            signal.setitimer(signal.ITIMER_REAL, 0)
            if step == 0:
                _core.stop()
            elif step == 1:
                _core.start(20, rate)
            elif step == 2:
                mprofile.take_snapshot().statistics("lineno")
            elif step == 3:
                mprofile.start_recording(os.path.join(directory, "heap"), every=0.01)
            elif step == 4:
                _core.clear_traces()
            else:
                mprofile.stop_recording()
            ran.append(step)
            if not over:
                signal.setitimer(signal.ITIMER_REAL, 0.002)

        _core.start(20, rate)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        until = time.monotonic() + 2
        while time.monotonic() < until or len(ran) < 60:
            kept = [bytearray(5002) for _ in range(20)]
            [str(i) for i in range(500)]
            del kept
        over.append(True)
        time.sleep(0.02)
        mprofile.stop_recording()
    _core.stop()
    _core.start(20, rate)
    kept = [bytearray(5002) for _ in range(20)]
    assert len(blocks(5003)) == 20 and _core._valid()
    del kept
    assert blocks(5003) == []
    _core.stop()


#: Arguments: who asks for the classes while they are being loaded, and after how many lines of that. A handler of a
#: signal runs between two lines, as a trace function does, which can choose them.
LOADING = """
import sys, threading
import mprofile

who, moment = sys.argv[1], int(sys.argv[2])
mprofile.start(16, 1 << 30)
asked = []

def ask():
    snapshot = mprofile.take_snapshot()
    snapshot.statistics("traceback")
    snapshot.filter_traces([mprofile.Filter(False, "nowhere")])
    mprofile.get_object_traceback(snapshot)
    mprofile.intervals.normal_quantile(0.5)
    asked.append(snapshot)

def trace(frame, event, argument):
    global moment
    moment -= 1
    if moment == 0:
        if who == "handler":
            ask()
        else:
            thread = threading.Thread(target=ask, daemon=True)
            thread.start()
            thread.join(120)
    return trace

sys.settrace(trace)
asked.append(mprofile.take_snapshot())
sys.settrace(None)
if moment > 0:
    print("over")
assert [type(one) for one in asked] == [mprofile.Snapshot] * (1 if moment > 0 else 2), asked
for name in ("snapshot", "traces"):
    assert getattr(mprofile, name) is sys.modules["mprofile." + name]
assert mprofile.snapshot.Snapshot is mprofile.Snapshot and mprofile.traces.Frame is mprofile.Frame
"""


@pytest.mark.parametrize("who", ["handler", "thread"])
def test_hazard_06_a_snapshot_while_the_classes_are_being_loaded(who: str) -> None:
    """They are loaded when a snapshot is first taken. A handler that takes one then interrupts that at any line."""
    moments = range(1, 6000, 67)
    for moment in moments:
        if run(LOADING, arguments=[who, str(moment)]) == "over\n":
            break
    else:
        raise AssertionError("not loaded within {} lines".format(moments[-1]))
    assert moment > 500
