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
    """Greenlets take turns, two at each depth; each allocates under its own frames, also right after a switch."""
    import greenlet

    def bottom(number: int) -> None:
        for _ in range(5):
            kept.append(bytearray(5000 + number))
            hub.switch()
            kept.append(bytearray(5000 + number))

    def even(depth: int, number: int) -> None:
        even(depth - 1, number) if depth else bottom(number)

    def odd(depth: int, number: int) -> None:
        odd(depth - 1, number) if depth else bottom(number)

    kept: List[bytearray] = []
    functions: Any = (even, odd)
    hub = greenlet.getcurrent()
    with recording(sample_rate=rate):
        greenlets = [greenlet.greenlet(functions[number % 2]) for number in range(8)]
        for number, each in enumerate(greenlets):
            each.switch(number // 2, number)
        while not all(each.dead for each in greenlets):
            for each in greenlets:
                each.switch()
        for number in range(8):
            found = blocks(5001 + number)
            assert len(found) == 10
            expected = ["bottom"] + [functions[number % 2].__name__] * (number // 2 + 1)
            assert {tuple(block.names) for block in found} == {tuple(expected)}
