# SPDX-License-Identifier: MIT
"""Hazard 11: a bound on live samples that makes nothing invisible."""

from __future__ import annotations

import math
from typing import Any, List

from harness import OBJ, RAW, blocks, isolated, recording


@isolated
def test_hazard_11_the_bound_thins_and_reweights() -> None:
    """Two groups of 20,000 blocks under a bound of 1,000 samples: both are there, with the right size.

    With about 500 samples left a group, one standard deviation is 4.5 %; the limit below is six of them.
    """
    import _hazard_mem as mem

    from mprofile import _core

    def first() -> None:
        kept.extend(mem.many(OBJ, 300, 20000))

    def second() -> None:
        kept.extend(mem.many(OBJ, 300, 20000))

    def estimate(name: str) -> float:
        weight = 1 / -math.expm1(-300 / _core._info()["sample_rate"])  # blocks that one sample stands for
        return 300 * weight * sum(block.names[0] == name for block in blocks(300))

    kept: List[Any] = []
    with recording(sample_rate=64, seed=11, max_live=1000):
        first()
        assert _core._info()["thinnings"] > 0
        assert abs(estimate("first") / 6e6 - 1) < 0.27
        rate = _core._info()["sample_rate"]
        second()
        info = _core._info()
        assert info["live"] <= 1000 and info["sample_rate"] >= rate > 64
        assert info["drops"] == 0
        assert abs(estimate("first") / 6e6 - 1) < 0.27
        assert abs(estimate("second") / 6e6 - 1) < 0.27
        current = _core.get_traced_memory()[0]
        assert abs(current / 14e6 - 1) < 0.27  # with the lists of addresses
        mem.release(OBJ, kept)
        assert estimate("first") == estimate("second") == 0


@isolated
def test_hazard_11_large_blocks_stay() -> None:
    """Thinning keeps what is much larger than the rate: a block of 50 MB among a hundred thousand small ones."""
    import _hazard_mem as mem

    from mprofile import _core

    with recording(sample_rate=64, seed=11, max_live=1000):
        large = mem.malloc(RAW, 50000000)
        kept = mem.many(OBJ, 200, 100000)
        assert _core._info()["thinnings"] > 3
        assert [trace[1] for trace in _core._get_traces() if trace[1] >= 50000000] == [50000000]
        mem.free(RAW, large)
        mem.release(OBJ, kept)


@isolated
def test_hazard_11_exact_mode_has_no_bound() -> None:
    import _hazard_mem as mem

    with recording():
        kept = mem.many(OBJ, 200, 100000)
        assert len(blocks(200)) == 100000
        mem.release(OBJ, kept)
