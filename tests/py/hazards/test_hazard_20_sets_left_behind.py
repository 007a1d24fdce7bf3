# SPDX-License-Identifier: MIT
"""Hazards 9 and 20: hooks that another tool keeps in place, past our stop and into a session of another kind; and what
requests that fail do to the estimates."""

from __future__ import annotations

import array
import ctypes
from typing import Any, List

import pytest
from harness import MEM, OBJ, RAW, blocks, isolated, recording


def allocated() -> float:
    """Bytes of everything allocated since the start, whether it is still in use or not."""
    from mprofile import _core

    figures = array.array("d", _core._get_traces().totals())  # type: ignore[union-attr]
    return float(figures[len(figures) // 3])


@pytest.mark.parametrize("domain", [MEM, OBJ])
@isolated
def test_hazard_20_exact_session_with_sampled_hooks_below_another_tool(domain: int) -> None:
    """The tool holds the hooks of a sampled session in one domain only, then everything is recorded. A large block is
    one block, although the domain has it from RAW."""
    import _hazard_below as below
    import _hazard_mem as mem

    from mprofile import _core

    _core.start(10, 1 << 30)
    below.install(domain)
    _core.stop()
    with recording(10, 0):
        before = allocated()
        made = mem.many(domain, 50003, 100)
        made = [mem.realloc(domain, block, 60007) for block in made]
        made += [mem.calloc(domain, 7, 10001) for _ in range(100)]
        counted = allocated() - before
        assert len(blocks(60007)) == len(blocks(70007)) == 100 and not blocks(50003)
        expected = 100 * (50003 + 60007 + 70007)
        assert expected <= counted < 1.05 * expected, counted  # and some objects of this function
        mem.release(domain, made)
        assert not blocks(60007, 70007)


@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc"])
@isolated
def test_hazard_20_tool_that_serves_small_requests_itself(kind: str) -> None:
    """A tool with a pool of its own for some sizes keeps our hooks below it. At the next start they are found there,
    and not installed a second time: each request is counted once."""
    import _hazard_below as below
    import _hazard_mem as mem

    from mprofile import _core

    _core.start(10, 1 << 30)
    below.install(RAW)
    _core.stop()
    below.slot(64)
    rate, size, count = 200000, 10007, 20000
    with recording(10, rate, seed=20):
        before = allocated()
        for _ in range(count):
            if kind == "malloc":
                block = mem.malloc(RAW, size)
            elif kind == "calloc":
                block = mem.calloc(RAW, 1, size)
            else:
                block = mem.realloc(RAW, 0, size)
            mem.free(RAW, block)
        estimate = (allocated() - before) / (size * count)
    assert 0.85 < estimate < 1.15, estimate  # 1001 samples: 3 %, and what this loop makes besides


class Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free")]


@isolated
def test_hazard_20_sampled_hooks_put_back_over_what_they_were_made_for() -> None:
    """The hooks of the first session come back, by a tool that had kept them, while a second session records over
    another allocator. They go on to serve each request by the one that they were made for, also one to be recorded."""
    import _hazard_below as below
    import _hazard_mem as mem

    def installed() -> Allocator:
        allocator = Allocator()
        ctypes.pythonapi.PyMem_GetAllocator(RAW, ctypes.byref(allocator))
        return allocator

    def install(allocator: Allocator) -> None:
        ctypes.pythonapi.PyMem_SetAllocator(RAW, ctypes.byref(allocator))

    with recording(10, 2):
        first = installed()
    below.install(RAW)
    with recording(10, 2):
        second = installed()
        assert (first.malloc, first.ctx) != (second.malloc, second.ctx)
        install(first)
        calls = below.calls(RAW)
        made = [mem.malloc(RAW, 5003), mem.calloc(RAW, 1, 5003)]
        made = [mem.realloc(RAW, block, 6007) for block in made]
        mem.release(RAW, made)
        calls_after = below.calls(RAW)
        install(second)
        assert calls_after == calls, (calls, calls_after)


@pytest.mark.parametrize("domain", [RAW, MEM, OBJ])
@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc"])
@isolated
def test_hazard_02_failing_requests_do_not_bias_the_estimate(domain: int, kind: str) -> None:
    """A program that asks for as much as the sample rate again and again, in vain, and goes on with small blocks. What
    is known of the gap, once it was shorter than a request that failed, must not reach the blocks after it."""
    import _hazard_below as below
    import _hazard_mem as mem

    rate, size, count = 65536, 10007, 4000
    failing = rate + 1
    below.install(domain)

    def fail() -> Any:
        if kind == "malloc":
            return mem.malloc(domain, failing)
        if kind == "calloc":
            return mem.calloc(domain, 1, failing)
        return mem.realloc(domain, kept, failing)

    with recording(10, rate, seed=2):
        kept = mem.malloc(domain, 10)
        below.refuse(failing, 1 << 40)
        before = allocated()
        results: List[Any] = []
        for _ in range(count):
            results.append(fail())
            mem.free(domain, mem.malloc(domain, size))
            assert results.pop() is None
        estimate = (allocated() - before) / (size * count)
        mem.free(domain, kept)
    assert 0.85 < estimate < 1.15, estimate  # 611 samples: 4 %, and what this loop makes besides
