# SPDX-License-Identifier: MIT
"""Hazards 1 and 3: an address belongs to somebody else the moment the base allocator has it back.

The allocator below gives an address that comes back to another thread before realloc or free has returned. A profiler
that forgets the old block only afterwards forgets the other thread's.
"""

from __future__ import annotations

import pytest
from harness import MEM, OBJ, RAW, blocks, isolated, large_from, recording

OLD, OTHER, NEW = 5003, 6007, 7001
EVERYTHING = [0, 2]  # at a rate of 2 bytes a block of some kilobytes is a sample for certain (1 - exp(-2500))


def has_had_a_thread() -> None:
    """The first thread but the main one stops the world where there is no GIL. That must not be the one in C."""
    import threading

    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("domain", [RAW, MEM, OBJ])
@isolated
def test_hazard_01_realloc_forgets_the_old_block_first(domain: int, rate: int) -> None:
    import _hazard_below as below
    import _hazard_mem as mem

    below.install(large_from(domain))
    has_had_a_thread()
    with recording(sample_rate=rate):
        old = mem.malloc(domain, OLD)
        below.hand_over(old, OTHER, large_from(domain))
        new = mem.realloc(domain, old, NEW)
        other = below.handed_over()
        assert other == old and new != old
        assert [block.size for block in blocks(OLD, OTHER, NEW)].count(OLD) == 0
        assert len(blocks(OTHER)) == 1
        assert len(blocks(NEW)) == 1
        mem.free(large_from(domain), other)
        mem.free(domain, new)
        assert blocks(OLD, OTHER, NEW) == []


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("domain", [RAW, MEM, OBJ])
@isolated
def test_hazard_03_free_forgets_the_block_first(domain: int, rate: int) -> None:
    import _hazard_below as below
    import _hazard_mem as mem

    below.install(large_from(domain))
    has_had_a_thread()
    with recording(sample_rate=rate):
        old = mem.malloc(domain, OLD)
        below.hand_over(old, OTHER, large_from(domain))
        mem.free(domain, old)
        other = below.handed_over()
        assert other == old
        assert blocks(OLD) == []
        assert len(blocks(OTHER)) == 1
        mem.free(large_from(domain), other)
        assert blocks(OTHER) == []


@pytest.mark.parametrize("rate", [0, 64])
@isolated
def test_hazard_01_03_threads_that_swap_addresses(rate: int) -> None:
    """Threads that allocate without the GIL get each other's addresses all the time; nothing stays behind."""
    import time

    import _hazard_foreign as foreign

    from mprofile import _core

    size = 3000
    with recording(sample_rate=rate, seed=1):
        kept = foreign.in_thread(4999, 50)
        rounds = 0
        while rounds <= 1000:  # by the work done, not by the clock: a look at all tables keeps the threads waiting
            foreign.hammer(3, size)
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                assert _core._valid()
            foreign.turn()
            more, faults = foreign.rest()
            assert faults == 0 and more > 0
            rounds += more
        assert blocks(*range(size, size + 64)) == []
        assert len(blocks(4999)) == len(kept)
        foreign.release(kept)
        assert blocks(4999) == []
        assert _core._info()["drops"] == 0
