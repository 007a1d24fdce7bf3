# SPDX-License-Identifier: MIT
"""Small loops that stress one kind of allocation each: python loops.py NAME LOOPS."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterator, List

from growth import zero
from snapshots import cost, imports
from timing import deep, parts, profiler, say


def object_loop(loops: int) -> List[float]:
    def part() -> None:
        for _ in range(loops):
            object()

    return parts(part)


def objects_below(depth: int) -> Callable[[int], List[float]]:
    return lambda loops: deep(depth, lambda: object_loop(loops))


def tuple_loop(loops: int) -> List[float]:
    def part() -> None:
        for i in range(loops):
            (i, i, (i,))

    return parts(part)


def list_loop(loops: int) -> List[float]:
    def part() -> None:
        for i in range(loops):
            [i, i, i, [i]]

    return parts(part)


def dict_loop(loops: int) -> List[float]:
    def part() -> None:
        for i in range(loops):
            {"a": i, "b": {i: i}}

    return parts(part)


def str_loop(loops: int) -> List[float]:
    def part() -> None:
        for i in range(loops):
            ("value %d" % i).upper()

    return parts(part)


class Node:
    __slots__ = ("left", "right")

    def __init__(self, depth: int) -> None:
        self.left = Node(depth - 1) if depth else None
        self.right = Node(depth - 1) if depth else None


def tree_loop(loops: int) -> List[float]:
    def part() -> None:
        for _ in range(loops):
            Node(9)

    return parts(part)


def realloc_growth(loops: int) -> List[float]:
    def part() -> None:
        for _ in range(loops):
            grown: List[int] = []
            for i in range(1000):
                grown.append(i)
            text = bytearray()
            for _ in range(200):
                text += b"some more bytes"

    return parts(part)


def generators(loops: int) -> List[float]:
    def numbers(count: int) -> Iterator[Any]:
        for _ in range(count):
            yield object()

    def part() -> None:
        for _ in range(loops // 10):
            for _ in numbers(10):
                pass

    return parts(part)


def coroutines(loops: int) -> List[float]:
    async def leaf() -> object:
        return object()

    async def middle() -> None:
        for _ in range(10):
            await leaf()

    async def run() -> None:
        for _ in range(loops // 100):
            await asyncio.gather(*(middle() for _ in range(10)))

    return parts(lambda: asyncio.run(run()))


def freed_elsewhere(loops: int) -> List[float]:
    """One thread allocates, another frees."""
    batches = loops // 1000

    def part() -> None:
        handed: List[List[object]] = []
        ready = threading.Semaphore(0)

        def free() -> None:
            for _ in range(batches):
                ready.acquire()
                handed.pop().clear()

        thread = threading.Thread(target=free)
        thread.start()
        for _ in range(batches):
            handed.append([object() for _ in range(1000)])
            ready.release()
        thread.join()

    return parts(part)


def storm(threads: int) -> Callable[[int], List[float]]:
    """Threads that all allocate small and large blocks; loops are shared among them."""

    def run(loops: int) -> List[float]:
        def work() -> None:
            kept: List[Any] = [None] * 64
            for i in range(loops // threads):
                kept[i % 64] = [i, (i, i)]
                if i % 16 == 0:
                    kept[i % 61] = bytes(1000 + i % 3000)

        def part() -> None:
            started = [threading.Thread(target=work) for _ in range(threads)]
            for thread in started:
                thread.start()
            for thread in started:
                thread.join()

        return parts(part)

    return run


def pairs(domain: int, size: int) -> Callable[[int], List[float]]:
    """malloc and free straight from C, without the interpreter in between."""

    def run(loops: int) -> List[float]:
        import driver  # type: ignore[import-not-found]

        def part() -> None:
            for _ in range(loops // IN_C):
                driver.measure(driver.MALLOC_FREE, domain, size, IN_C)

        return parts(part)

    return run


def growth_in_c(loops: int) -> List[float]:
    import driver

    return parts(lambda: driver.measure(driver.GROW, 1, 4000, loops))


def live_objects(loops: int) -> List[float]:
    """`loops` objects that stay alive, allocated 20 frames deep, once."""

    def part() -> float:
        keep: List[Any] = [None] * loops
        start = time.perf_counter()
        for i in range(loops):
            keep[i] = object()
        taken = time.perf_counter() - start
        LIVE.append(keep)
        return taken

    before = profiler().get_tracemalloc_memory() if profiler() else 0
    seconds = deep(20, part)
    EXTRA["blocks"] = loops
    if profiler():
        EXTRA["profiler_memory"] = profiler().get_tracemalloc_memory() - before
        EXTRA.update(cost(profiler()))
    return [seconds]


def live_stacks(loops: int) -> List[float]:
    """`loops` objects that stay alive, of 10,000 stacks that differ in 20 calls, once."""
    begin = time.perf_counter()
    LIVE.append([zero(i % 10_000, 20) for i in range(loops)])
    seconds = time.perf_counter() - begin
    if profiler():
        EXTRA.update(cost(profiler()))
    return [seconds]


def import_loop(loops: int) -> List[float]:
    """Imports of the profiler's module and of tracemalloc, one after the other: the fastest of each."""
    found = [(imports("mprofile"), imports("tracemalloc")) for _ in range(loops)]
    EXTRA["import_seconds"], EXTRA["tracemalloc_seconds"] = map(min, zip(*found))
    return [EXTRA["import_seconds"]]


# Loops of one call to the driver.
IN_C = 50_000
LIVE: List[Any] = []
EXTRA: Dict[str, Any] = {}

PROGRAMS: Dict[str, Callable[[int], List[float]]] = {
    "object_loop": object_loop,
    "object_deep": objects_below(20),
    "object_10_deep": objects_below(10),
    "object_100_deep": objects_below(100),
    "object_1000_deep": objects_below(1000),
    "tuple_loop": tuple_loop,
    "list_loop": list_loop,
    "dict_loop": dict_loop,
    "str_loop": str_loop,
    "tree_loop": tree_loop,
    "realloc_growth": realloc_growth,
    "generators": generators,
    "coroutines": coroutines,
    "freed_elsewhere": freed_elsewhere,
    "storm_2_threads": storm(2),
    "storm_8_threads": storm(8),
    "live_objects": live_objects,
    "live_stacks": live_stacks,
    "import_loop": import_loop,
    "realloc_in_c": growth_in_c,
    **{
        "%s_%d_bytes" % (name, size): pairs(domain, size)
        for domain, name in enumerate(("raw", "mem", "obj"))
        for size in (16, 512, 4096)
    },
}

if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    measured = PROGRAMS[sys.argv[1]](int(sys.argv[2]))
    say(measured, EXTRA)
