# SPDX-License-Identifier: MIT
"""Hazard 20: allocators of other tools that come and go. What has lain below is kept for ever, so there is a bound."""

from __future__ import annotations

import ctypes
from typing import Any

from harness import RAW, blocks, isolated, recording


@isolated
def test_hazard_20_allocators_are_replaced_without_end() -> None:
    """Python's own RAW functions with another context each time, which they ignore: to us these are all different. When
    there is no room for one more, start says so; over an allocator that is known it goes on working."""
    import pytest

    from mprofile import _core

    class Allocator(ctypes.Structure):
        _fields_ = [(name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free")]

    get: Any = ctypes.pythonapi.PyMem_GetAllocator
    put: Any = ctypes.pythonapi.PyMem_SetAllocator
    get.restype = put.restype = None
    original = Allocator()
    get(RAW, ctypes.byref(original))
    _core.start()
    _core.stop()
    other = Allocator(7, original.malloc, original.calloc, original.realloc, original.free)
    started = 0
    with pytest.raises(RuntimeError, match="the allocators of this process have been replaced too often"):
        for context in range(16, 16016, 16):
            other.context = context
            put(RAW, ctypes.byref(other))
            _core.start()
            started += 1
            _core.stop()
    assert 10 < started < 100
    assert not _core.is_tracing()
    now = Allocator()
    get(RAW, ctypes.byref(now))
    assert (now.context, now.malloc) == (other.context, original.malloc), "start has left the allocator as it was"
    put(RAW, ctypes.byref(original))
    with recording(10, 0):
        kept = bytearray(70001)
        assert len(blocks(70002)) == 1 and len(kept) == 70001
