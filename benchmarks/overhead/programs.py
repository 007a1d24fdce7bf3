# SPDX-License-Identifier: MIT
"""The programs that are timed: small loops that stress one kind of allocation each, and pyperformance's tornado_http.

Each is a function of a number of loops. It returns the seconds that the timed part took, in the best of several equal
parts where the program allows it: on a shared machine the best part is the one least disturbed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from typing import Any, Callable, Dict, List

PARTS = 7


def best_of(part: Callable[[], object]) -> float:
    """Seconds of the fastest of PARTS runs, after one that is not counted."""
    part()
    times = []
    for _ in range(PARTS):
        start = time.perf_counter()
        part()
        times.append(time.perf_counter() - start)
    return min(times)


def deep(depth: int, function: Callable[[], float]) -> float:
    """Calls a function with `depth` more frames on the stack."""
    if depth > 0:
        return deep(depth - 1, function)
    return function()


def object_loop(loops: int) -> float:
    def part() -> None:
        for _ in range(loops):
            object()

    return best_of(part)


def object_deep(loops: int) -> float:
    return deep(20, lambda: object_loop(loops))


def list_loop(loops: int) -> float:
    def part() -> None:
        for i in range(loops):
            [i, i, i, [i]]

    return best_of(part)


def dict_loop(loops: int) -> float:
    def part() -> None:
        for i in range(loops):
            {"a": i, "b": {i: i}}

    return best_of(part)


def str_loop(loops: int) -> float:
    def part() -> None:
        for i in range(loops):
            ("value %d" % i).upper()

    return best_of(part)


class Node:
    __slots__ = ("left", "right")

    def __init__(self, depth: int) -> None:
        self.left = Node(depth - 1) if depth else None
        self.right = Node(depth - 1) if depth else None


def tree_loop(loops: int) -> float:
    def part() -> None:
        for _ in range(loops):
            Node(9)

    return best_of(part)


def realloc_growth(loops: int) -> float:
    def part() -> None:
        for _ in range(loops):
            grown: List[int] = []
            for i in range(1000):
                grown.append(i)
            text = bytearray()
            for _ in range(200):
                text += b"some more bytes"

    return best_of(part)


def live_objects(loops: int) -> float:
    """`loops` objects that stay alive, allocated 20 frames deep, once."""

    def part() -> float:
        keep: List[Any] = [None] * loops
        start = time.perf_counter()
        for i in range(loops):
            keep[i] = object()
        taken = time.perf_counter() - start
        EXTRA["blocks"] = loops
        LIVE.append(keep)
        return taken

    return deep(20, part)


def tornado_http(loops: int) -> float:
    import pyperformance

    folder = os.path.dirname(pyperformance.__file__)
    path = os.path.join(folder, "data-files", "benchmarks", "bm_tornado_http", "run_benchmark.py")
    spec = importlib.util.spec_from_file_location("bm_tornado_http", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.bench_tornado(1)
    return min(module.bench_tornado(loops) for _ in range(3))


# What a program keeps alive until the worker has looked at it, and what it has to say beside its time.
LIVE: List[Any] = []
EXTRA: Dict[str, Any] = {}

PROGRAMS: Dict[str, Callable[[int], float]] = {
    "object_loop": object_loop,
    "object_deep": object_deep,
    "list_loop": list_loop,
    "dict_loop": dict_loop,
    "str_loop": str_loop,
    "tree_loop": tree_loop,
    "realloc_growth": realloc_growth,
    "live_objects": live_objects,
    "tornado_http": tornado_http,
}

LOOPS = {
    "object_loop": 200_000,
    "object_deep": 100_000,
    "list_loop": 100_000,
    "dict_loop": 60_000,
    "str_loop": 60_000,
    "tree_loop": 40,
    "realloc_growth": 60,
    "live_objects": 1_000_000,
    "tornado_http": 2,
}

if __name__ == "__main__":
    sys.exit("programs.py is used by worker.py")
