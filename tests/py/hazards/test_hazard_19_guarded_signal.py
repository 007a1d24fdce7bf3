# SPDX-License-Identifier: MIT
"""Hazard 19: the end by a signal. A program that guards it again must not have put the guard before itself."""

from __future__ import annotations

from typing import List

import pytest
from harness import isolated


@pytest.mark.parametrize("times", [1, 2])
@isolated
def test_hazard_19_signal_guarded_again(times: int) -> None:
    import os
    import signal

    from mprofile import _core

    caught: List[int] = []

    def handler(number: int, frame: object) -> None:
        _core._spare()
        caught.append(number)

    signal.signal(signal.SIGTERM, handler)
    for _ in range(times):
        _core._guard_signal(signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert caught == [signal.SIGTERM]
