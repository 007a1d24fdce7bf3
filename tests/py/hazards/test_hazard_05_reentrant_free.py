# SPDX-License-Identifier: MIT
"""Hazard 5: a free that happens inside an allocation removes its record all the same."""

from __future__ import annotations

import pytest
from harness import MEM, OBJ, RAW, blocks, isolated, recording

EVERYTHING = [0, 2]
# The C library maps a block of this size by itself: nothing else gets its address meanwhile.
VICTIM, OUTER = 300007, 401


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("domain", [RAW, MEM, OBJ])
@isolated
def test_hazard_05_free_inside_an_allocation(domain: int, rate: int) -> None:
    import _hazard_below as below
    import _hazard_mem as mem

    below.install(domain)
    with recording(sample_rate=rate):
        for request in ("malloc", "calloc", "realloc"):
            victim = mem.malloc(RAW, VICTIM)
            assert len(blocks(VICTIM)) == 1
            below.free_inside(OUTER, victim)
            if request == "malloc":
                outer = mem.malloc(domain, OUTER)
            elif request == "calloc":
                outer = mem.calloc(domain, 1, OUTER)
            else:
                outer = mem.realloc(domain, mem.malloc(domain, 100), OUTER)
            assert blocks(VICTIM) == [], request
            assert len(blocks(OUTER)) == 1, request
            mem.free(domain, outer)
            assert blocks(OUTER) == [], request


@isolated
def test_hazard_05_a_collection_inside_an_allocation() -> None:
    """Objects that a collection frees while another object is being made are gone from the record."""
    import gc

    class Cycle:
        def __init__(self) -> None:
            self.me = self
            self.payload = bytearray(VICTIM - 1)

        def __del__(self) -> None:
            self.payload = bytearray(OUTER - 1)

    gc.collect()
    with recording():
        gc.set_threshold(5, 2, 2)
        kept = [Cycle() for _ in range(3)]
        for _ in range(300):
            Cycle()
        gc.set_threshold(700, 10, 10)
        gc.collect()
        gc.collect()
        assert len(blocks(VICTIM)) == len(kept)
        assert blocks(OUTER) == []
