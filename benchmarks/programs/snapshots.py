# SPDX-License-Identifier: MIT
"""What a snapshot costs, and an import: for the programs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict

from timing import seconds_of, unprofiled


def longest_stop(action: Callable[[], object]) -> float:
    """The longest time between two allocations of another thread while `action` runs, in seconds."""
    stops = []
    over = threading.Event()

    def allocate() -> None:
        longest, last = 0.0, time.perf_counter()
        while not over.is_set():
            object()
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        stops.append(longest)

    thread = threading.Thread(target=allocate)
    thread.start()
    action()
    over.set()
    thread.join()
    return stops[0]


def cost(profile: Any) -> Dict[str, float]:
    """Seconds of take_snapshot, and of what is done with a snapshot, with everything that the program keeps alive."""
    begin = time.perf_counter()
    snapshot = profile.take_snapshot()
    found = {"snapshot_seconds": time.perf_counter() - begin}
    begin = time.perf_counter()
    statistics = snapshot.statistics("lineno")
    found["statistics_seconds"] = time.perf_counter() - begin
    found["largest_bytes"], found["largest_blocks"] = statistics[0].size, statistics[0].count
    found["stopped_seconds"] = longest_stop(profile.take_snapshot)
    later = profile.take_snapshot()
    found["compare_seconds"] = seconds_of(lambda: later.compare_to(snapshot, "lineno"))
    pattern = os.path.join(os.path.dirname(os.path.abspath(__file__)), "*")
    found["filter_seconds"] = seconds_of(lambda: snapshot.filter_traces([profile.Filter(True, pattern)]))
    return found


def imports(module: str) -> float:
    """Seconds of an import, in an interpreter of its own that has no profiler."""
    program = "import time; begin = time.perf_counter(); import %s; print(time.perf_counter() - begin)" % module
    return float(subprocess.check_output([sys.executable, "-c", program], env=unprofiled()))
