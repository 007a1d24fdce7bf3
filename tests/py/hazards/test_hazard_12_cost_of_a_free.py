# SPDX-License-Identifier: MIT
"""Hazard 12: what a free costs. Its instructions have budgets (tests/integration/test_instructions.py); here is what no
budget shows, that the cost does not grow with what is alive."""

from __future__ import annotations

import pytest
from harness import RAW, isolated, recording

COUNT = 2000


@pytest.mark.parametrize("which", ["first", "last", "across"])
@isolated
def test_hazard_12_a_free_costs_the_same_however_many_blocks_are_alive(which: str) -> None:
    """With a hundred times as many at most twenty times as much, for the processor's caches; a search through all would
    cost a hundred times. The least of several tries each, so that others on the machine do not matter."""
    import random
    import time

    import _hazard_mem as mem

    from mprofile import _core

    def seconds(alive: int) -> float:
        best = 1e9
        for _ in range(3):
            with recording(sample_rate=0):
                made = mem.many(RAW, 37, alive)
                if which == "across":
                    random.Random(1).shuffle(made)
                freed = made[:COUNT] if which != "last" else made[-COUNT:]
                kept = made[COUNT:] if which != "last" else made[:-COUNT]
                began = time.thread_time()
                mem.release(RAW, freed)
                best = min(best, time.thread_time() - began)
                assert _core.get_traced_memory()[0] >= 37 * len(kept)
                mem.release(RAW, kept)
        return best

    few = seconds(COUNT + 1)
    many = seconds(100 * COUNT)
    assert many < 20 * few, (few, many)


@isolated
def test_hazard_12_a_free_of_what_is_not_recorded_costs_the_same_too() -> None:
    """Sampled: 200,000 samples are alive, and blocks come and go that are none. They meet the filter of addresses, not
    the samples."""
    import time

    import _hazard_mem as mem

    from mprofile import _core

    def seconds() -> float:
        best = 1e9
        for _ in range(7):
            began = time.thread_time()
            mem.churn(RAW, 37, 20000)
            best = min(best, time.thread_time() - began)
        return best

    with recording(sample_rate=1 << 20):
        few = seconds()
        made = mem.many(RAW, 600000, 10)
        mem.release(RAW, made)
    _core.start(4, 64, max_live=0)
    kept = mem.many(RAW, 1000, 200000)
    assert len(_core._get_traces()) > 190000
    started = seconds()
    mem.release(RAW, kept)
    alone = seconds()
    _core.stop()
    # The same rate with nothing alive; at 1 MiB nothing at all is recorded.
    assert started < 20 * alone and few < started, (few, started, alone)
