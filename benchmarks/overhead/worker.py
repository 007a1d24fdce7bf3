# SPDX-License-Identifier: MIT
"""One round: runs one program under one configuration in this process and prints what it took as JSON.

    python worker.py PROGRAM CONFIGURATION LOOPS

Configurations: none, empty (hooks that only pass on; run.py builds them), mprofile:RATE:FRAMES (RATE 0 is exact), recording:RATE:FRAMES (the same, and recording to a file),
tracemalloc:FRAMES.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import sys
import time
from typing import Any, Dict

import programs


def start(configuration: str) -> Any:
    """Starts the profiler that a configuration names; returns its module, or None."""
    name, _, rest = configuration.partition(":")
    numbers = [int(number) for number in rest.split(":") if number]
    if name == "none":
        return None
    if name == "empty":
        import empty_hook

        empty_hook.start()
        return None
    if name == "tracemalloc":
        import tracemalloc

        tracemalloc.start(numbers[0])
        return tracemalloc
    if name == "mprofile":
        import mprofile

        mprofile.start(max_frames=numbers[1], sample_rate=numbers[0])
        return mprofile
    if name == "recording":
        import tempfile

        import mprofile

        mprofile.start(max_frames=numbers[1], sample_rate=numbers[0])
        directory = tempfile.TemporaryDirectory()
        mprofile.start_recording(os.path.join(directory.name, "heap.pb.gz"))
        atexit.register(directory.cleanup)
        return mprofile
    raise SystemExit("unknown configuration %r: none, empty, mprofile:RATE:FRAMES, recording:RATE:FRAMES or tracemalloc:FRAMES"
                     % configuration)


def snapshot_cost(profiler: Any) -> Dict[str, Any]:
    """Seconds of take_snapshot and statistics with everything that the program keeps still alive."""
    begin = time.perf_counter()
    snapshot = profiler.take_snapshot()
    taken = time.perf_counter() - begin
    begin = time.perf_counter()
    statistics = snapshot.statistics("lineno")
    return {
        "snapshot_seconds": taken,
        "statistics_seconds": time.perf_counter() - begin,
        "largest": [statistics[0].size, statistics[0].count],
    }


def main() -> None:
    program, configuration, loops = sys.argv[1], sys.argv[2], int(sys.argv[3])
    profiler = start(configuration)
    before = profiler.get_tracemalloc_memory() if profiler else 0
    result: Dict[str, Any] = {"seconds": programs.PROGRAMS[program](loops)}
    result["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result.update(programs.EXTRA)
    if profiler:
        result["profiler_memory"] = profiler.get_tracemalloc_memory() - before
        if program == "live_objects":
            result.update(snapshot_cost(profiler))
        profiler.stop()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
