# SPDX-License-Identifier: MIT
"""Hazard 8: fork handlers of other libraries that wait for a thread which is on its way into the profiler."""

from __future__ import annotations

import pytest
from harness import compile_library, run
from processes import preload

PROGRAM = """
import ctypes, os, sys
from mprofile import _core
library, order, rate = sys.argv[1], sys.argv[2], int(sys.argv[3])
if order == "library first":
    ctypes.CDLL(library)
    _core.start(4, rate)
else:
    _core.start(4, rate)
    ctypes.CDLL(library)
kept = [bytearray(3001) for _ in range(10)]
pid = os.fork()
if pid == 0:
    os._exit(0 if _core._valid() else 1)
assert os.waitpid(pid, 0)[1] == 0
del kept
assert _core._valid()
if rate == 0:
    assert all(trace[1] not in (1000, 3001, 3002) for trace in _core._get_traces())
_core.stop()
print("forked")
"""


@pytest.mark.parametrize("rate", [0, 2])
@pytest.mark.parametrize("order", ["library first", "profiler first"])
def test_hazard_08_fork_handler_that_waits_for_a_thread_that_allocates(order: str, rate: int, tmp_path: object) -> None:
    """Handlers run last registered first, so one of the orders has the profiler's lock held while the library waits."""
    library = compile_library("forkers.c", tmp_path)
    assert run(PROGRAM, arguments=[library, order, str(rate)]) == "forked\n"


#: The thread that stops waits in the midst of that, and gives the GIL away; the main thread forks.
STOPPING = """
import ctypes, os, signal, sys, threading
from mprofile import _core

library, rate = ctypes.CDLL(None), int(sys.argv[1])
inside, forked = threading.Event(), threading.Event()

@ctypes.CFUNCTYPE(None)
def wait():
    inside.set()
    assert forked.wait(120)

def stop():
    library.unmaps_tell(wait)
    _core.stop()

_core.start(4, rate)
kept = [bytearray(3001) for _ in range(1000)]
thread = threading.Thread(target=stop)
thread.start()
assert inside.wait(120), "nothing was given back"
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    assert not _core.is_tracing() and len(_core._get_traces()) == 0
    for _ in range(2):
        _core.start(4, 0)
        more = [bytearray(4001) for _ in range(10)]
        assert sum(trace[1] // 100 == 40 for trace in _core._get_traces()) == 10
        _core.clear_traces()
        assert _core._valid()
        _core.stop()
    os._exit(7)
status = os.waitpid(pid, 0)[1]
forked.set()
thread.join()
_core.start(4, 0)
_core.stop()
print(status >> 8, status & 255)
"""


@pytest.mark.parametrize("rate", [0, 2])
def test_hazard_08_fork_while_another_thread_stops(rate: int, tmp_path: object) -> None:
    """The lock of start and stop has a holder that the child has not got."""
    library = compile_library("unmaps.c", tmp_path)
    assert run(STOPPING, arguments=[str(rate)], LD_PRELOAD=preload(library)) == "7 0\n"
