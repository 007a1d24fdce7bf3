# SPDX-License-Identifier: MIT
"""Hazard 6: a hook waits for nothing that the program may hold."""

from __future__ import annotations

from typing import Any, List

import pytest
from harness import RAW, blocks, isolated, recording

EVERYTHING = [0, 2]
CALLER = "test_hazard_06_a_detached_thread_has_its_own_stack"


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_06_raw_hook_does_not_take_the_gil(rate: int) -> None:
    """A thread allocates while another holds the GIL and waits for it, as a thread with a lock of the program would."""
    import _hazard_foreign as foreign

    with recording(sample_rate=rate):
        for _ in range(20):
            assert foreign.beside(4001, 30), "the allocation waits for the GIL"


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_06_raw_hook_does_not_make_thread_states(rate: int) -> None:
    """A foreign thread stays foreign: sys._current_frames() and the list of threads do not know it."""
    import sys
    import threading

    import _hazard_foreign as foreign

    with recording(sample_rate=rate):
        before = (len(sys._current_frames()), threading.active_count())
        addresses = foreign.in_thread(4001, 10)
        assert (len(sys._current_frames()), threading.active_count()) == before
        found = blocks(4001)
        assert len(found) == 10 and not any(block.known for block in found)
        foreign.release(addresses)
        assert blocks(4001) == []


@isolated
def test_hazard_06_a_detached_thread_has_its_own_stack() -> None:
    """Without the GIL, beside a busy thread: the stack is the caller's own, not that of who holds the GIL."""
    import sys
    import threading

    import _hazard_foreign as foreign

    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            sum(range(100))

    def caller() -> None:
        addresses.extend(foreign.detached(4001, 200))

    addresses: List[Any] = []
    thread = threading.Thread(target=busy)
    sys.setswitchinterval(1e-5)
    with recording():
        thread.start()
        for _ in range(10):
            caller()
        stop.set()
        thread.join()
        found = blocks(4001)
        assert len(found) == 2000
        assert {tuple(block.names[:2]) for block in found} == {("caller", CALLER)}
        foreign.release(addresses)
        assert blocks(4001) == []


@isolated
def test_hazard_06_an_allocation_under_a_lock_that_a_finalizer_wants() -> None:
    """The lock of the profiler is never held while Python code runs: a finalizer that reads the profile gets it."""
    import gc

    import _hazard_mem as mem

    from mprofile import _core

    seen = []

    class Reader:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            seen.append(_core.get_traced_memory()[0])
            _core._get_traces()

    with recording():
        gc.set_threshold(3, 2, 2)
        for _ in range(100):
            Reader()
            mem.free(RAW, mem.malloc(RAW, 5000))
        gc.set_threshold(700, 10, 10)
        gc.collect()
    assert len(seen) == 100 and min(seen) > 0
