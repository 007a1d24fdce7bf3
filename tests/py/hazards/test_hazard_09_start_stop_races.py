# SPDX-License-Identifier: MIT
"""Hazard 9: start and stop while hooks run in other threads."""

from __future__ import annotations

import pytest
from harness import RAW, blocks, isolated, recording


@isolated
def test_hazard_09_start_and_stop_beside_threads_that_allocate() -> None:
    """Exact and sampled in turn: every block keeps its content, every session has consistent tables."""
    import time

    import _hazard_foreign as foreign

    from mprofile import _core

    size = 3000
    foreign.hammer(3, size)
    until = time.monotonic() + 1.5
    rounds = 0
    while time.monotonic() < until or rounds < 30:
        _core.start(8, (0, 4096, 2)[rounds % 3])
        assert _core._valid()
        if rounds % 2:
            _core._get_traces()
        if rounds % 5 == 0:
            _core.clear_traces()
        assert _core._valid()
        _core.stop()
        assert _core.get_traced_memory() == (0, 0)
        rounds += 1
    with recording():
        hammered, faults = foreign.rest()
        assert faults == 0 and hammered > 1000
        assert blocks(*range(size, size + 64)) == []


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_09_blocks_of_an_earlier_session(rate: int) -> None:
    """What was allocated before start, or in a session that has ended, is resized and freed without a trace."""
    import _hazard_mem as mem

    from mprofile import _core

    before = mem.many(RAW, 5003, 10)
    with recording(sample_rate=rate):
        first = mem.many(RAW, 5009, 10)
        assert len(blocks(5009)) == 10
    between = mem.many(RAW, 5011, 10)
    with recording(sample_rate=rate):
        assert blocks(5003, 5009, 5011) == []
        moved = [mem.realloc(RAW, address, 6007) for address in (*before[:5], *first[:5], *between[:5])]
        assert len(blocks(6007)) == 15
        for addresses in (before[5:], first[5:], between[5:], moved):
            mem.release(RAW, addresses)
        assert blocks(5003, 5009, 5011, 6007) == []
        assert _core._info()["drops"] == 0


@isolated
def test_hazard_09_the_allocators_are_the_old_ones_after_stop() -> None:
    """Between sessions nothing of the profiler is in the chain: what reaches the base is what it was, and who."""
    import _hazard_below as below
    import _hazard_mem as mem

    from mprofile import _core

    below.install(RAW)
    for rate in (0, 2, 512 * 1024) * 20:
        _core.start(1, rate)
        _core.stop()
    before = below.calls(RAW)
    mem.churn(RAW, 100, 1000)
    after = below.calls(RAW)
    assert after[0] - before[0] >= 1000 and after[3] - before[3] >= 1000
    assert after[0] - before[0] <= 1010 and after[3] - before[3] <= 1010


@isolated
def test_hazard_09_threads_start_and_stop_at_once() -> None:
    import threading

    from mprofile import _core

    def toggle(rate: int) -> None:
        for _ in range(300):
            _core.start(4, rate)
            [bytearray(i) for i in range(20)]
            _core.get_traced_memory()
            _core.stop()

    threads = [threading.Thread(target=toggle, args=(rate,)) for rate in (0, 2, 1000, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not _core.is_tracing()
    with recording():
        kept = bytearray(5002)
        assert len(blocks(5003)) == 1
        del kept
