# SPDX-License-Identifier: MIT
"""Hazard 17: the Python stack changes under a C stack that stays. More of it in tests/integration/test_greenlet.py."""

from __future__ import annotations

from typing import Any, List

import pytest
from harness import blocks, compile_library, isolated, recording, run


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


#: Arguments: the library, the rate.
ELSEWHERE = """
import ctypes, sys, threading
from mprofile import _core

library, rate = ctypes.PyDLL(sys.argv[1]), int(sys.argv[2])
library.on_another_stack.restype = ctypes.py_object
library.on_another_stack.argtypes = [ctypes.py_object]
kept = []

def bottom(number):
    kept.append(bytearray(5000 + number))
    yield

def there():
    for number in range(4):
        kept.append(bytearray(5000 + number))
        next(bottom(number))
        list(map(lambda _: kept.append(bytearray(5000 + number)), [0]))
    return kept

def here():
    assert library.on_another_stack(there) is kept

_core.start(20, rate)
here()
thread = threading.Thread(target=here)
thread.start()
thread.join()
blocks = [trace for trace in _core._get_traces() if 5000 < trace[1] < 5100]
_core.stop()
stacks = [tuple(frame[1] for frame in trace[2] if frame[0] == "<string>") for trace in blocks]
print(len(blocks), sorted(set(len(stack) for stack in stacks)), len(set(stacks)))
"""


@pytest.mark.parametrize("rate", [0, 2])
def test_hazard_17_python_on_another_c_stack(rate: int, tmp_path: object) -> None:
    """Main thread and another: there(), or what it calls by C, below here(), whose frames lie on another stack of C."""
    library = compile_library("otherstack.c", tmp_path)
    assert run(ELSEWHERE, arguments=[library, str(rate)]) == "24 [2, 3, 4] 6\n"
