# SPDX-License-Identifier: MIT
"""What the programs share: timing of equal parts, and how a program says what it measured."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Callable, Dict, List

PARTS = 7


def parts(part: Callable[[], object], count: int = PARTS) -> List[float]:
    """Seconds of the fastest of `count` runs, after one that is not counted: the one least disturbed."""
    part()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        part()
        times.append(time.perf_counter() - start)
    return [min(times)]


def seconds_of(action: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def unprofiled() -> Dict[str, str]:
    """The environment of a process beside which no profiler is started."""
    return {name: value for name, value in os.environ.items() if "BENCH" not in name}


def deep(depth: int, function: Callable[[], Any]) -> Any:
    """Calls a function with `depth` more frames on the stack."""
    if depth > 0:
        return deep(depth - 1, function)
    return function()


def profiler() -> Any:
    """What was started: a module with tracemalloc's functions, or None."""
    start = sys.modules.get("sitecustomize")
    return getattr(start, "PROFILER", None)


def say(values: List[float], extra: Dict[str, Any]) -> None:
    """The last line of what a program prints."""
    print(json.dumps({"values": values, **extra}), flush=True)
