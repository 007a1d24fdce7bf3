# SPDX-License-Identifier: MIT
"""Hazard 16: threads older than start(), made by C, that outlive stop(), and their last allocations."""

from __future__ import annotations

from typing import Any, List

import pytest
from harness import RAW, blocks, isolated, recording

EVERYTHING = [0, 2]


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_16_threads_from_before_start_and_after_stop(rate: int) -> None:
    """Threads that live through three sessions: each session has all of their blocks, with their stacks."""
    import threading

    import _hazard_mem as mem

    def worker() -> None:
        for turn in range(7):
            gate.wait()
            kept.extend(mem.many(RAW, 5003 + turn, 5))
            gate.wait()

    def turn() -> None:
        gate.wait()
        gate.wait()

    kept: List[Any] = []
    gate = threading.Barrier(5)
    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    turn()
    for session in range(3):
        with recording(sample_rate=rate):
            assert blocks(*range(5003, 5010)) == []
            turn()
            found = blocks(*range(5003, 5010))
            assert [block.size for block in found] == [5004 + 2 * session] * 20
            assert {block.names[0] for block in found} == {"worker"}
            assert {len(block.frames) for block in found} == {4}  # _bootstrap, _bootstrap_inner, run, worker
        turn()
    for thread in threads:
        thread.join()
    with recording(sample_rate=rate):
        mem.release(RAW, kept)
        assert len(kept) == 7 * 20 and blocks(*range(5003, 5010)) == []


@isolated
def test_hazard_16_a_gap_from_another_session_does_not_hide_samples() -> None:
    """A thread that drew a gap of a terabyte samples again in the next session."""
    import threading

    import _hazard_mem as mem

    def worker() -> None:
        for size in (5003, 5009):
            gate.wait()
            kept.extend(mem.many(RAW, size, 20))
            gate.wait()

    kept: List[Any] = []
    gate = threading.Barrier(2)
    thread = threading.Thread(target=worker)
    thread.start()
    with recording(sample_rate=1 << 40):
        gate.wait()
        gate.wait()
    with recording(sample_rate=2):
        gate.wait()
        gate.wait()
        assert len(blocks(5009)) == 20
    thread.join()
    mem.release(RAW, kept)


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_16_threads_of_c(rate: int) -> None:
    """Recorded with no stack, freed by another thread."""
    import _hazard_foreign as foreign
    import _hazard_mem as mem

    from mprofile import _core

    with recording(sample_rate=rate):
        kept = []
        for _ in range(50):
            kept += foreign.in_thread(5003, 4)
        found = blocks(5003)
        assert len(found) == 200 and not any(block.known for block in found)
        mem.release(RAW, kept)
        assert blocks(5003) == []
        assert _core._info()["drops"] == 0


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_16_the_last_allocations_of_a_thread(rate: int) -> None:
    """Made in destructors of thread-specific data, before and after the profiler's own, in each of the four rounds."""
    import _hazard_foreign as foreign
    import _hazard_mem as mem

    from mprofile import _core

    with recording(sample_rate=rate):
        for turn in range(20):
            kept = foreign.in_destructor(5003, 3)
            # The C library runs 4 rounds; what it runs at least is 4 of the one key and 3 of the other.
            assert len(kept) >= 20
            assert len(blocks(5003)) == len(kept), turn
            mem.release(RAW, kept)
            assert blocks(5003) == []
        assert _core._info()["drops"] == 0
        # Threads that are gone leave nothing: their places are used again.
        memory = _core._info()["memory"]
        for _ in range(300):
            mem.release(RAW, foreign.in_destructor(5003, 1))
        assert _core._info()["memory"] <= memory + 65536


@isolated
def test_hazard_16_thread_local_objects_die_with_their_thread() -> None:
    import threading

    class Payload:
        def __init__(self) -> None:
            self.data = bytearray(5002)

        def __del__(self) -> None:
            last.append(bytearray(5008))

    def worker() -> None:
        local.payload = Payload()

    local = threading.local()
    last: List[Any] = []
    with recording():
        threads = [threading.Thread(target=worker) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del thread, threads
        assert blocks(5003) == []
        assert [block.names[0] for block in blocks(5009)] == ["__del__"] * 20


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_16_a_thread_that_is_met_in_its_last_destructor(rate: int) -> None:
    """Nobody hears of such a thread's end any more. Its memory is gone when the next session looks for threads."""
    import _hazard_foreign as foreign

    from mprofile import _core

    _core.start(8, rate)  # the profiler's own destructor comes first in each round
    _core.stop()
    foreign.in_last_round(5003, lambda: _core.start(8, rate))
    for _ in range(3):
        _core.clear_traces()
        assert _core._valid()
        _core.stop()
        _core.start(8, rate)
    assert blocks(5003) == []
    _core.stop()
