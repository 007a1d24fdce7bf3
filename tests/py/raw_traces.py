# SPDX-License-Identifier: MIT
"""Traces as tracemalloc's are, made up: what the tests of snapshots share."""

from __future__ import annotations

import random
import sys
import tracemalloc
from typing import Any, List, Tuple

import mprofile

RawTrace = Tuple[Any, ...]
WITH_TOTAL = sys.version_info >= (3, 9)

FILES = [
    "a.py",
    "b.py",
    "dir/c.py",
    "dir/c.pyc",
    "<frozen importlib>",
    "<unknown>",
    "\u00e9.py",
    "\ud800.py",
    "\U0001f600",
    "",
]


def trace(domain: int, size: int, *frames: Tuple[str, int], total: int = 0) -> RawTrace:
    raw = (domain, size, frames)
    return raw + (total or len(frames),) if WITH_TOTAL else raw


def random_traces(seed: int, count: int) -> List[RawTrace]:
    """Few names, few lines, few sizes: groups merge, frames recur, sizes tie."""
    rng = random.Random(seed)
    stacks = [
        tuple((rng.choice(FILES), rng.randrange(4)) for _ in range(rng.randrange(1, 6))) for _ in range(count // 2 + 1)
    ]
    return [
        trace(rng.choice([0, 0, 0, 1, 5]), rng.randrange(4) * 8, *rng.choice(stacks), total=5) for _ in range(count)
    ]


def both(traces: List[RawTrace]) -> Tuple[mprofile.Snapshot, Any]:
    return mprofile.Snapshot(traces, 5), tracemalloc.Snapshot(traces, 5)  # type: ignore[arg-type]
