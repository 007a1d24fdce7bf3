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

A process that only samples, or records to a file, does not need the classes. They are loaded when they are first asked
for, which keeps them out of the memory of many processes; exact mode loads them when it starts, so that it does not
show them. A program that will not reach its Python's files any more, in another root, imports mprofile.snapshot before.
"""

# No `from __future__ import annotations`: that module alone would be a third of what importing this one takes.
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
from mprofile._core import _import as _import_unsampled
from mprofile._version import __version__
from mprofile.recording import start_recording, stop_recording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional

    from mprofile.filters import BaseFilter, DomainFilter, Filter
    from mprofile.snapshot import Snapshot, Statistic, StatisticDiff, read_pprof
    from mprofile.traces import Frame, Trace, Traceback

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


def take_snapshot() -> "Snapshot":
    """Return a Snapshot of the memory in use. RuntimeError if the profiler is not running."""
    if not is_tracing():
        raise RuntimeError("the tracemalloc module must be tracing memory allocations to take a snapshot")
    traces = _get_traces()
    _load("Snapshot")
    return Snapshot(traces, get_traceback_limit())


def get_object_traceback(obj: object) -> "Optional[Traceback]":
    """Return the Traceback where ``obj`` was allocated; None if that was not recorded."""
    frames = _get_object_traceback(obj)
    if frames is None:
        return None
    _load("Traceback")
    return Traceback(frames)


#: Names that are loaded when asked for, and where they are. tracemalloc's snapshots name _Traces in their pickles.
_HOMES = {
    "BaseFilter": "filters",
    "DomainFilter": "filters",
    "Filter": "filters",
    "Frame": "traces",
    "Snapshot": "snapshot",
    "Statistic": "snapshot",
    "StatisticDiff": "snapshot",
    "Trace": "traces",
    "Traceback": "traces",
    "_Traces": "traces",
    "read_pprof": "snapshot",
}


def _load(name: str) -> "Any":
    """Return one of those names; from then on it is an attribute like any other."""
    if name not in globals():
        globals()[name] = getattr(_import_unsampled("mprofile." + _HOMES[name]), name)
    return globals()[name]


def __getattr__(name: str) -> "Any":
    if name in _HOMES:
        return _load(name)
    if name in _HOMES.values():
        return _import_unsampled("mprofile." + name)
    # tracemalloc has its imports as attributes, and its tests patch this one.
    if name == "linecache":
        import linecache

        return linecache
    raise AttributeError("module {!r} has no attribute {!r}".format(__name__, name))


def __dir__() -> "List[str]":
    return sorted({*globals(), *__all__})


if _os.environ.get("MPROFILERATE"):
    from mprofile import _environment

    _environment.start()
