# SPDX-License-Identifier: MIT
"""Hazard 17: the Python stack changes under a C stack that stays. More of it in tests/integration/test_greenlet.py."""

from __future__ import annotations

from typing import Any, List

import pytest
from harness import blocks, isolated, recording


@pytest.mark.module("greenlet")
@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_17_each_greenlet_has_its_own_stack(rate: int) -> None:
    """Greenlets at different depths take turns; each allocates under its own frames, also right after a switch."""
    import greenlet

    def deep(depth: int, number: int) -> None:
        if depth:
            deeper[number % 2](depth - 1, number)
            return
        for turn in range(5):
            kept.append(bytearray(5000 + number))
            hub.switch()
            kept.append(bytearray(5000 + number))

    def even(depth: int, number: int) -> None:
        deep(depth, number)

    def odd(depth: int, number: int) -> None:
        deep(depth, number)

    kept: List[bytearray] = []
    deeper: Any = (even, odd)
    hub = greenlet.getcurrent()
    with recording(sample_rate=rate):
        greenlets = [greenlet.greenlet(deep) for _ in range(8)]
        started = [False] * 8
        while not all(each.dead for each in greenlets):
            for number, each in enumerate(greenlets):
                if not each.dead:
                    each.switch(*(() if started[number] else (number, number)))
                    started[number] = True
        for number in range(8):
            found = blocks(5001 + number)
            assert len(found) == 10
            expected = ["deep"] + [("even", "odd")[number % 2], "deep"] * number
            assert {tuple(block.names) for block in found} == {tuple(expected)}
