# SPDX-License-Identifier: MIT
"""Hazard 7: a hook that allocates, or runs Python code, in the middle of somebody's allocation."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from harness import MEM, OBJ, RAW, isolated, recording

EVERYTHING = [0, 2]


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("domain", [RAW, MEM, OBJ])
@isolated
def test_hazard_07_a_hook_makes_no_request_of_its_own(domain: int, rate: int) -> None:
    """What reaches the base allocators is what the program asked for, request for request."""
    import gc

    import _hazard_below as below
    import _hazard_mem as mem

    for each in (RAW, MEM, OBJ):
        below.install(each)
        mem.churn(each, 400, 300)  # counts above 256: to read them, integers are made, always as many
    count = 5000

    def requests(number: int) -> List[Any]:
        before = [below.calls(each) for each in (RAW, MEM, OBJ)]
        assert mem.churn(domain, 400, number) == 0
        after = [below.calls(each) for each in (RAW, MEM, OBJ)]
        return [[new - old for new, old in zip(*pair)] for pair in zip(after, before)]

    def deeper(depth: int, number: int) -> List[Any]:
        return deeper(depth - 1, number) if depth else requests(number)

    gc.collect()
    gc.disable()
    with recording(sample_rate=rate):
        for _ in range(20):
            deeper(10, 1)
        nothing = deeper(10, 0)
        something = deeper(10, count)
    made = [[new - old for new, old in zip(*pair)] for pair in zip(something, nothing)]
    for each in (RAW, MEM, OBJ):
        mallocs, callocs, reallocs, frees = made[each]
        expected = count if each == domain else 0
        assert abs(mallocs - expected) <= 2 and abs(frees - expected) <= 2, made
        assert callocs == reallocs == 0, made


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_07_a_hook_makes_no_objects(rate: int) -> None:
    import gc
    import sys

    import _hazard_mem as mem

    def deeper(depth: int) -> None:
        if depth:
            deeper(depth - 1)
        else:
            mem.churn(RAW, 100, 1000)

    collections = []
    with recording(sample_rate=rate):
        gc.collect()
        for _ in range(5):
            deeper(20)
        gc.callbacks.append(lambda phase, info: collections.append(phase))
        references = sys.getrefcount(deeper.__code__)
        objects = gc.get_count()[0]
        blocks_before = sys.getallocatedblocks()
        deeper(20)
        blocks_after = sys.getallocatedblocks()
        assert abs(blocks_after - blocks_before) <= 3
        assert gc.get_count()[0] - objects <= 5
        assert sys.getrefcount(deeper.__code__) == references
        assert collections == []
        gc.callbacks.clear()


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("domain", [RAW, MEM, OBJ])
@isolated
def test_hazard_07_a_hook_makes_no_frame_objects(domain: int, rate: int) -> None:
    """Since 3.11 a frame gets its object when somebody asks for it. Who walks a stack by them makes one for each."""
    import gc

    import _hazard_below as below
    import _hazard_mem as mem

    below.install(OBJ)

    def deeper(depth: int, number: int) -> None:
        if depth:
            deeper(depth - 1, number)
        else:
            mem.churn(domain, 400, number)  # the first that is recorded in these frames

    def made(number: int) -> int:
        before = below.calls(OBJ)[0]
        deeper(100, number)
        return int(below.calls(OBJ)[0] - before)

    gc.collect()
    gc.disable()
    with recording(sample_rate=rate):
        for _ in range(20):
            made(1)
        assert made(50) - (50 if domain == OBJ else 0) <= 10


@pytest.mark.parametrize("rate", EVERYTHING)
@pytest.mark.parametrize("environment", [{"PYTHONMALLOC": "debug"}, {}])
@isolated
def test_hazard_07_a_list_is_not_seen_while_it_is_resized(rate: int, environment: Dict[str, str]) -> None:
    """While realloc runs a list points to its old items, which may be gone. Up to 3.11 any object made in between that
    the collector knows can start a collection, and that visits them."""
    import gc

    def append(values: List[None], depth: int) -> None:
        if depth:
            append(values, depth - 1)
        else:
            values.append(None)

    with recording(sample_rate=rate):
        gc.set_threshold(1)
        for _ in range(300):
            values: List[None] = []
            for _ in range(100):
                append(values, 5)  # in frames that nothing was recorded in
            assert values == [None] * 100


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_07_finalizers_that_change_what_is_being_resized(rate: int) -> None:
    """A collection at nearly every object, with finalizers that grow, shrink and empty the containers in use."""
    import gc
    import random

    rng = random.Random(7)
    lists: List[Any] = [[] for _ in range(10)]
    dicts: List[Any] = [{} for _ in range(10)]
    buffer = bytearray()
    ran = [0]

    class Meddler:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            ran[0] += 1
            rng.choice(lists).extend([None] * rng.randrange(50))
            del rng.choice(lists)[rng.randrange(5) :]
            rng.choice(dicts).update((i, i) for i in range(rng.randrange(40)))
            rng.choice(dicts).clear()

    with recording(sample_rate=rate):
        gc.set_threshold(2, 2, 2)
        for i in range(2000):
            Meddler()
            rng.choice(lists).append([i])
            rng.choice(dicts)[i] = [i]
            buffer += b"x" * rng.randrange(100)
        gc.set_threshold(700, 10, 10)
        gc.collect()
    assert ran[0] == 2000
    assert set(buffer) == {ord("x")}
    assert all(type(item) in (list, type(None)) for each in lists for item in each)
