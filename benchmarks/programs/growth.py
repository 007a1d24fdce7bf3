# SPDX-License-Identifier: MIT
"""What one event costs as the heap, the number of stacks or the number of threads grows: python growth.py AXIS NUMBER.

    live      NUMBER objects that stay alive, all from one stack
    stacks    NUMBER different stacks, one live object each
    threads   NUMBER threads that allocate and free 400,000 objects between them

Says the seconds of all events and, where the profiler has tracemalloc's functions, its memory and the seconds to take a
snapshot, to write it, to read it, and to print a report of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, List

from timing import profiler, say, seconds_of, unprofiled

EVENTS = 400_000
# Up to so many blocks a snapshot of Python objects, as tracemalloc's is, is taken: ten million take gigabytes.
LARGEST_OF_OBJECTS = 10**6
DEPTH = 20  # calls on top of which the stacks differ: 2 to the power of it are possible


def live(count: int) -> Any:
    keep: List[Any] = [None] * count
    yield count
    for i in range(count):
        keep[i] = object()
    yield keep


def zero(path: int, depth: int) -> object:
    if depth == 0:
        return object()
    return one(path >> 1, depth - 1) if path & 1 else zero(path >> 1, depth - 1)


def one(path: int, depth: int) -> object:
    if depth == 0:
        return object()
    return one(path >> 1, depth - 1) if path & 1 else zero(path >> 1, depth - 1)


def stacks(count: int) -> Any:
    keep: List[Any] = [None] * count
    yield count
    for i in range(count):
        keep[i] = zero(i, DEPTH)
    yield keep


def threads(count: int) -> Any:
    def work() -> None:
        for _ in range(EVENTS // count):
            object()

    started = [threading.Thread(target=work) for _ in range(count)]
    yield EVENTS // count * count
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    yield None


def of_a_snapshot(profile: Any) -> Dict[str, float]:
    """Seconds of each thing that is done with a snapshot."""
    begin = time.perf_counter()
    snapshot = profile.take_snapshot()
    found = {"snapshot": time.perf_counter() - begin}
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "heap.pb.gz")
        if hasattr(profile, "read_pprof"):
            found["write"] = seconds_of(lambda: snapshot.write_pprof(path))
            found["read"] = seconds_of(lambda: profile.read_pprof(path))
            command = [sys.executable, "-m", "mprofile", "report", path]
            found["report"] = seconds_of(
                lambda: subprocess.run(command, stdout=subprocess.DEVNULL, env=unprofiled(), check=True)
            )
        else:
            found["write"] = seconds_of(lambda: snapshot.dump(path))
            found["read"] = seconds_of(lambda: profile.Snapshot.load(path))
            found["report"] = seconds_of(lambda: snapshot.statistics("lineno"))
        found["file"] = float(os.path.getsize(path))
    return found


def main(axis: str, count: int) -> None:
    run = {"live": live, "stacks": stacks, "threads": threads}[axis](count)
    profile = profiler()
    events = next(run)
    before = profile.get_tracemalloc_memory() if profile else 0
    begin = time.perf_counter()
    kept = next(run)
    seconds = time.perf_counter() - begin
    extra: Dict[str, Any] = {"events": events}
    if profile:
        extra["memory"] = profile.get_tracemalloc_memory() - before
        if axis != "threads" and (count <= LARGEST_OF_OBJECTS or hasattr(profile, "read_pprof")):
            extra.update(of_a_snapshot(profile))
    begin = time.perf_counter()
    del kept
    run.close()
    extra["free"] = time.perf_counter() - begin
    say([seconds], extra)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
