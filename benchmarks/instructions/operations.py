# SPDX-License-Identifier: MIT
"""The operations whose instructions are counted. measure.py runs this under callgrind:

    python operations.py DIRECTORY-OF-DRIVER with|without

Each operation runs with few loops, then with many: the difference of the two counts, divided by the difference of the
loops, is what one loop takes. Prints one line a count, in the order in which callgrind writes them: name and loops.
"""

from __future__ import annotations

import gc
import sys
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

RAW, MEM, OBJ = range(3)
DOMAINS = ("raw", "mem", "obj")
NEVER = 1 << 40  # a rate at which nothing of this program is sampled: the fast path alone
RARELY = 512 * 1024
EXACT = 0


class Operation(NamedTuple):
    """`kind` is a constant of the driver or a function of a number of loops, run under `depth` more frames."""

    name: str
    rate: int
    kind: Any
    domain: int = MEM
    size: int = 64
    depth: int = 0
    loops: Tuple[int, int] = (1000, 3000)


def objects(loops: int) -> None:
    for _ in range(loops):
        object()


def ring(loops: int) -> None:
    """Objects of all addresses of a ring, for what depends on the address; see driver.c."""
    kept: List[Any] = [None] * 1000
    for i in range(loops):
        kept[i % 1000] = object()


class Made:
    """What is made in here has a frame of the interpreter's own below it, from 3.13 on, once it is warm."""

    def __init__(self, loops: int) -> None:
        if loops:
            ring(loops)


def made(loops: int) -> None:
    for number in [0] * 100 + [loops]:
        Made(number)


def container_ring(loops: int) -> None:
    kept: List[Any] = [None] * 1000
    for i in range(loops):
        kept[i % 1000] = {"a": [i, i], "b": (i, [i])}


def strings(loops: int) -> None:
    for i in range(loops):
        ("value %d" % i).upper()


def containers(loops: int) -> None:
    for i in range(loops):
        {"a": [i, i], "b": (i, [i])}


def appends(loops: int) -> None:
    grown: List[int] = []
    for _ in range(loops):
        grown.append(1)


def operations(driver: Any) -> List[Operation]:
    found = []
    for domain in (RAW, MEM, OBJ):
        name = DOMAINS[domain]
        found += [
            Operation("fast: %s malloc, free" % name, NEVER, driver.MALLOC_FREE, domain),
            Operation("fast: %s calloc, free" % name, NEVER, driver.CALLOC_FREE, domain),
            Operation("fast: %s realloc" % name, NEVER, driver.REALLOC, domain),
        ]
    found += [
        Operation("fast: mem malloc of 2,000 bytes, free", NEVER, driver.MALLOC_FREE, MEM, 2000),
        Operation("fast: mem growth to 4,000 bytes", NEVER, driver.GROW, MEM, 4000, loops=(20, 100)),
        Operation("fast: object()", NEVER, objects),
        Operation("fast: strings", NEVER, strings),
        Operation("fast: dict, lists, tuple", NEVER, containers),
        Operation("fast: list.append", NEVER, appends, loops=(1000, 20000)),
        Operation("512 KiB: mem malloc, free", RARELY, driver.MALLOC_FREE, MEM, 400, 20, (10000, 90000)),
        Operation("sampled: mem free, malloc, 20 frames", 8, driver.REPLACE, MEM, 400, 20, (1000, 3000)),
        Operation("exact: mem free, malloc, 1 frame", EXACT, driver.REPLACE),
        Operation("exact: mem free, malloc, 20 frames", EXACT, driver.REPLACE, depth=20),
        Operation("exact: mem free, malloc, 100 frames", EXACT, driver.REPLACE, depth=100),
        Operation("exact: raw free, malloc, 20 frames", EXACT, driver.REPLACE, RAW, depth=20),
        Operation("exact: mem realloc, 20 frames", EXACT, driver.RESIZE, depth=20),
        Operation("exact: mem malloc of 10,000, free of all", EXACT, driver.KEEP, loops=(2000, 12000)),
        Operation("exact: object(), 20 frames", EXACT, ring, depth=20, loops=(3000, 9000)),
        Operation("exact: object() in __init__, 20 frames", EXACT, made, depth=20, loops=(3000, 9000)),
        Operation("exact: dict, lists, tuple, 20 frames", EXACT, container_ring, depth=20, loops=(3000, 9000)),
    ]
    return found


def deep(depth: int, function: Callable[[], Any]) -> Any:
    """Calls a function with `depth` more frames on the stack."""
    if depth > 0:
        return deep(depth - 1, function)
    return function()


def run(driver: Any, operation: Operation, loops: int) -> None:
    if isinstance(operation.kind, int):
        driver.measure(operation.kind, operation.domain, operation.size, loops)
    else:
        driver.call(operation.kind, loops)


def main(directory: str, profiled: bool) -> None:
    sys.path.insert(0, directory)
    import driver  # type: ignore[import-not-found]

    import mprofile

    gc.disable()
    rate: Optional[int] = None
    for operation in operations(driver):
        if profiled and operation.rate != rate:
            mprofile.stop()
            mprofile.start(128, operation.rate, seed=1)
        rate = operation.rate
        # The first is for warming up: tables grow, frames get their chunk, caches of the interpreter fill.
        for loops in (operation.loops[0],) + operation.loops:
            deep(operation.depth, lambda o=operation, n=loops: run(driver, o, n))  # type: ignore[misc]
            print("%s\t%d" % (operation.name, loops))
    mprofile.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "with")
