# SPDX-License-Identifier: MIT
"""Hazards 2 and 4: requests that fail, the program's and the profiler's own."""

from __future__ import annotations

import sys
from typing import Any, Dict, List

import pytest
from harness import BYTEARRAY_HEADER, MEM, OBJ, RAW, blocks, isolated, large_from, recording, run

EVERYTHING = [0, 2]
DOMAINS = [RAW, MEM, OBJ]
OLD, NEW = 5003, 7001


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("domain", DOMAINS)
@isolated
def test_hazard_02_failing_realloc_keeps_record(domain: int, rate: int) -> None:
    import _hazard_below as below
    import _hazard_mem as mem

    from mprofile import _core

    below.install(large_from(domain))
    with recording(sample_rate=rate):
        old = mem.malloc(domain, OLD)
        (before,) = blocks(OLD)
        live = _core._info()["live"]
        below.refuse(NEW)
        assert mem.realloc(domain, old, NEW) is None
        assert blocks(OLD, NEW) == [before]
        assert _core._info()["drops"] == 0
        if rate == 0:
            assert _core._info()["live"] <= live + 20  # a few objects of this function
        below.refuse(NEW, 1)
        assert mem.realloc(domain, old, NEW) is None
        new = mem.realloc(domain, old, NEW)  # and now it succeeds
        assert [block.size for block in blocks(OLD, NEW)] == [NEW]
        mem.free(domain, new)
        assert blocks(OLD, NEW) == []


@isolated
def test_hazard_02_failing_realloc_of_a_huge_block_keeps_its_size() -> None:
    import _hazard_below as below
    import _hazard_mem as mem

    huge = min(2**31 + 5003, sys.maxsize - 5003)
    below.install(RAW)
    below.pretend(True)
    with recording():
        old = mem.malloc(RAW, huge)
        below.refuse(NEW)
        assert mem.realloc(RAW, old, NEW) is None
        assert len(blocks(huge)) == 1
        mem.free(RAW, old)
        assert blocks(huge) == []


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_02_failing_realloc_in_a_program(rate: int) -> None:
    """A bytearray that cannot grow stays as it is, and stays recorded."""
    import _hazard_below as below

    below.install(large_from(OBJ if BYTEARRAY_HEADER else MEM))
    with recording(sample_rate=rate):
        victim = bytearray(200000)
        (before,) = blocks(200001)
        below.refuse(400001 + BYTEARRAY_HEADER)
        try:
            victim.extend(bytes(200000))
        except MemoryError:
            pass
        else:
            raise AssertionError("the request was not refused")
        assert len(victim) == 200000
        if rate == 0 and BYTEARRAY_HEADER:
            # The bytes object inside is announced anew when it cannot grow, so it is known by that line from then on.
            assert [block.size for block in blocks(200001)] == [before.size]
        else:
            assert blocks(200001) == [before]
        del victim
        assert blocks(200001) == []


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_02_realloc_to_nothing_that_returns_null_has_freed(rate: int) -> None:
    import _hazard_below as below
    import _hazard_mem as mem

    below.install(RAW)
    with recording(sample_rate=rate):
        old = mem.malloc(RAW, OLD)
        below.grudge(old)
        assert mem.realloc(RAW, old, 0) is None
        assert blocks(OLD) == []


@pytest.mark.parametrize("domain", DOMAINS)
@isolated
def test_hazard_02_realloc_to_nothing_that_returns_a_block(domain: int) -> None:
    import _hazard_mem as mem

    with recording():
        old = mem.malloc(domain, OLD)
        new = mem.realloc(domain, old, 0)
        assert new is not None
        assert blocks(OLD) == []
        assert [block.names[0] for block in blocks(0)] == ["test_hazard_02_realloc_to_nothing_that_returns_a_block"]
        mem.free(domain, new)
        assert blocks(0) == []


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("domain", DOMAINS)
@isolated
def test_hazard_04_null_is_not_recorded(domain: int, rate: int) -> None:
    import _hazard_below as below
    import _hazard_mem as mem

    from mprofile import _core

    below.install(large_from(domain))
    with recording(sample_rate=rate):
        below.refuse(OLD, 3)
        assert mem.malloc(domain, OLD) is None
        assert mem.calloc(domain, 1, OLD) is None
        assert mem.realloc(domain, 0, OLD) is None
        assert blocks(OLD) == []
        assert _core._info()["drops"] == 0
        block = mem.malloc(domain, OLD)
        assert len(blocks(OLD)) == 1
        mem.free(domain, block)


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_04_without_memory_the_profiler_drops_and_the_program_goes_on(rate: int) -> None:
    """Whichever request of the profiler fails, and all that follow: the program gets its memory, drops are counted."""
    from mprofile import _core

    def grow(depth: int) -> List[Any]:
        return [bytearray(700 + depth), *(grow(depth - 1) if depth else [])]

    functions = []
    for i in range(40):
        scope: Dict[str, Any] = {}
        exec("def made_{0}():\n    return bytearray({0} + 900)".format(i), scope)
        functions.append(scope["made_{}".format(i)])

    def program() -> None:
        kept = [grow(i % 50) for i in range(60)]
        kept.extend([function()] for function in functions)
        for i, group in enumerate(kept[:60]):
            assert [len(item) for item in group] == [700 + depth for depth in range(i % 50, -1, -1)]
        assert [len(group[0]) for group in kept[60:]] == list(range(900, 940))

    program()
    dropped = 0
    for n in range(1, 40):
        with recording(sample_rate=rate):
            _core._fail(n, 1 << 40)
            program()
            drops = _core._info()["drops"]
            assert _core._valid()
            _core._fail(0)
            before = _core._info()["drops"]
            again = bytearray(5002)
            assert len(blocks(5003)) == 1 and _core._info()["drops"] == before
            del again
        dropped += drops > 0
        assert drops > 0 or n > 5
    assert dropped >= 5


@isolated
def test_hazard_04_one_refusal_costs_one_record() -> None:
    import _hazard_mem as mem

    from mprofile import _core

    for n in range(1, 30):
        with recording():
            _core._fail(n, 0)
            addresses = mem.many(RAW, OLD, 3000)
            assert None not in addresses
            info = _core._info()
            assert 3000 - info["drops"] <= len(blocks(OLD)) <= 3000
            assert info["drops"] <= 1
            mem.release(RAW, addresses)
            assert blocks(OLD) == []


def test_hazard_04_program_without_memory() -> None:
    """At the end of the address space the program gets its MemoryError, no more and no less, and recovers."""
    # Without the collector, which wants memory too, says so on stderr, and tries again. Tuples, for without a GIL
    # PyList_New() itself corrupts the heap (gh-152125). mimalloc is not to have taken a gigabyte of addresses before.
    out = run(
        """if True:
        import gc, resource
        gc.disable()
        from mprofile import _core
        _core.start(128, 0)
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + (80 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for attempt in range(3):
            kept, enough = [], False
            try:
                while True:
                    kept.append(bytearray(70000))
                    kept.extend((i,) for i in range(1000))
                    enough = len(kept) > 10000
            except MemoryError:
                del kept  # before anything else is made
            kept = [bytearray(1000) for _ in range(1000)]
            assert all(len(item) == 1000 for item in kept)
            print(enough, _core._valid())
        """,
        MIMALLOC_ARENA_RESERVE=str(64 << 10),
    )
    assert out == "True True\n" * 3
