# SPDX-License-Identifier: MIT
"""mprofile: a heap profiler for Python that can stay on in production.

The functions and classes of tracemalloc, under the same names, and:

    start(max_frames=128, sample_rate=0)   sample_rate: mean bytes between samples; 0 records every block
    get_sample_rate()                      the rate given to start()
    Snapshot.write_pprof(), read_pprof()   profiles for `go tool pprof` and everything that reads its format
    start_recording(path), stop_recording()  writes the profile while the program runs, so that it survives a kill

    import mprofile
    mprofile.start(sample_rate=512 * 1024)
    ...
    for statistic in mprofile.take_snapshot().statistics("lineno")[:10]:
        print(statistic, statistic.size_interval())

With MPROFILERATE in the environment, importing mprofile starts it (mprofile/_environment.py).
"""

from __future__ import annotations

import os as _os

from mprofile._core import (
    _get_object_traceback,
    _get_traces,
    clear_traces,
    get_sample_rate,
    get_traceback_limit,
    get_traced_memory,
    get_tracemalloc_memory,
    is_tracing,
    reset_peak,
    start,
    stop,
)
from mprofile._version import __version__
from mprofile.filters import BaseFilter, DomainFilter, Filter
from mprofile.recording import start_recording, stop_recording
from mprofile.snapshot import Snapshot, Statistic, StatisticDiff, read_pprof
from mprofile.traces import Frame, Trace, Traceback
from mprofile.traces import _Traces as _Traces  # tracemalloc's snapshots name it in their pickles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

__all__ = [
    "BaseFilter",
    "DomainFilter",
    "Filter",
    "Frame",
    "Snapshot",
    "Statistic",
    "StatisticDiff",
    "Trace",
    "Traceback",
    "__version__",
    "clear_traces",
    "get_object_traceback",
    "get_sample_rate",
    "get_traceback_limit",
    "get_traced_memory",
    "get_tracemalloc_memory",
    "is_tracing",
    "read_pprof",
    "reset_peak",
    "start",
    "start_recording",
    "stop",
    "stop_recording",
    "take_snapshot",
]


def take_snapshot() -> Snapshot:
    """Return a Snapshot of the memory in use. RuntimeError if the profiler is not running."""
    if not is_tracing():
        raise RuntimeError("the tracemalloc module must be tracing memory allocations to take a snapshot")
    return Snapshot(_get_traces(), get_traceback_limit())


def get_object_traceback(obj: object) -> Optional[Traceback]:
    """Return the Traceback where ``obj`` was allocated; None if that was not recorded."""
    frames = _get_object_traceback(obj)
    return None if frames is None else Traceback(frames)


def __getattr__(name: str) -> Any:
    # tracemalloc has its imports as attributes, and its tests patch this one.
    if name == "linecache":
        import linecache

        return linecache
    raise AttributeError("module {!r} has no attribute {!r}".format(__name__, name))


if _os.environ.get("MPROFILERATE"):
    from mprofile import _environment

    _environment.start()
