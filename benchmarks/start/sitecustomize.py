# SPDX-License-Identifier: MIT
"""Starts the profiler that MPROFILE_BENCH_CONFIGURATION names, before the program begins (rounds/configurations.py).

When the process ends it writes what it took, as JSON, into the directory MPROFILE_BENCH_REPORT: its peak resident set
and the seconds that starting took. The program finds what was started in sys.modules["sitecustomize"].PROFILER.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time

PROFILER = None  # a module with tracemalloc's functions, where the profiler has them
FINISH = []  # what ends the profiler and brings its profile out; called by programs that want it, at the latest at exit


def peak_rss():
    """Bytes; the most since this program was executed, unlike getrusage's, which remembers what was there before."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def finish():
    while FINISH:
        FINISH.pop()()


def report(directory, configuration, seconds):
    finish()
    path = os.path.join(directory, "process-%d.json" % os.getpid())
    with open(path, "w") as file:
        json.dump({"configuration": configuration, "peak_rss": peak_rss(), "start_seconds": seconds}, file)


def start_memray(mode, directory):
    import memray

    tracker = memray.Tracker(
        os.path.join(directory, "memray-%d.bin" % os.getpid()), trace_python_allocators=mode == "python"
    )
    tracker.__enter__()
    FINISH.append(lambda: tracker.__exit__(None, None, None))


def start_pyroscope(rate):
    import pyroscope

    pyroscope.configure(
        application_name="benchmark",
        server_address="http://127.0.0.1:" + os.environ["MPROFILE_BENCH_SINK"],
        mem_enabled=True,
        mem_heap_sample_size=rate,
        cpu_enabled=False,
    )
    FINISH.append(pyroscope.shutdown)


def start_ddtrace(rate, directory):
    from ddtrace.internal.datadog.profiling import ddup
    from ddtrace.profiling.collector.memalloc import MemoryCollector

    ddup.config(env="none", service="benchmark", version="0", output_filename=os.path.join(directory, "ddtrace"))
    ddup.start()
    collector = MemoryCollector(max_nframe=128, heap_sample_size=rate)
    collector.start()

    def end():
        collector.snapshot()
        ddup.upload()
        collector.stop()

    FINISH.append(end)


def start(configuration, directory):
    global PROFILER
    kind, _, rest = configuration.partition(":")
    words = rest.split(":")
    if kind == "empty":
        import empty_hook

        empty_hook.start()
    elif kind in ("mprofile", "older", "recording"):
        import mprofile

        mprofile.start(max_frames=int(words[1]), sample_rate=int(words[0]))
        PROFILER = mprofile
        if kind == "recording":
            mprofile.start_recording(os.path.join(directory, "heap-%d.pb.gz" % os.getpid()))
    elif kind == "tracemalloc":
        import tracemalloc

        tracemalloc.start(int(words[0]))
        PROFILER = tracemalloc
    elif kind == "memray":
        start_memray(words[0], directory)
    elif kind == "pyroscope":
        start_pyroscope(int(words[0]))
    elif kind == "ddtrace":
        start_ddtrace(int(words[0]), directory)


if "MPROFILE_BENCH_CONFIGURATION" in os.environ:
    CONFIGURATION = os.environ["MPROFILE_BENCH_CONFIGURATION"]
    try:
        BEGIN = time.perf_counter()
        start(CONFIGURATION, os.environ["MPROFILE_BENCH_REPORT"])
        atexit.register(report, os.environ["MPROFILE_BENCH_REPORT"], CONFIGURATION, time.perf_counter() - BEGIN)
    except Exception as error:
        # An interpreter goes on when this module fails, and would measure nothing.
        sys.stderr.write("cannot start %s: %s: %s\n" % (CONFIGURATION, type(error).__name__, error))
        sys.stderr.flush()
        os._exit(97)
