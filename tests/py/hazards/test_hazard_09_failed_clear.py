# SPDX-License-Identifier: MIT
"""Hazard 9: clear_traces() that finds no memory ends the recording; the next one must not meet its own hooks."""

from __future__ import annotations

from harness import isolated


@isolated
def test_hazard_09_start_after_a_clear_without_memory() -> None:
    from mprofile import _core

    for n in range(1, 40):
        _core.start(16, 0)
        _core._fail(n, 1 << 40)
        try:
            _core.clear_traces()
        except MemoryError:
            assert not _core.is_tracing()
        else:
            assert n > 5  # a start needs more requests than that
            _core.stop()
            continue
        kept = [bytearray(100) for _ in range(10)]
        assert _core.get_traced_memory() == (0, 0)
        _core.start(16, 0)
        kept = [bytearray(5003) for _ in range(10)]
        assert sum(trace[1] >= 5003 for trace in _core._get_traces()) == 10
        assert _core._valid()
        _core.stop()
        del kept


@isolated
def test_hazard_09_chain_taken_apart_by_others() -> None:
    """tracemalloc keeps our functions while we stop and start; they must never become what lies below themselves."""
    import tracemalloc

    from mprofile import _core

    for rate in (0, 2, 0):
        _core.start(4, rate)
        tracemalloc.start()
        _core.stop()
        _core.start(4, 2 - rate)
        tracemalloc.stop()
        kept = [bytearray(7001) for _ in range(100)]
        assert _core.is_tracing() and _core._valid()
        assert sum(trace[1] >= 7001 for trace in _core._get_traces()) >= 99
        _core.stop()
        tracemalloc.start()
        _core.start(4, rate)
        tracemalloc.stop()
        _core.stop()
        del kept
