# SPDX-License-Identifier: MIT
"""Hazard 8: fork handlers of other libraries that wait for a thread which is on its way into the profiler."""

from __future__ import annotations

import os

import pytest
from harness import compile_c, run

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
    library = os.path.join(str(tmp_path), "forkers.so")
    compile_c("forkers.c", library, "-fPIC", "-shared")
    assert run(PROGRAM, arguments=[library, order, str(rate)], timeout=30) == "forked\n"
