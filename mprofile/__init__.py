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
import sys as _sys

from mprofile._core import (
    _get_object_traceback,
    _get_traces,
    _unsampled,
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


#: Modules that are loaded late, and which of them each imports.
_LATE = {
    "_files": (),
    "_sizes": (),
    "filters": (),
    "intervals": (),
    "snapshot": ("_sizes", "filters", "traces"),
    "traces": ("_sizes",),
}


def _load(name: str) -> "Any":
    """Return one of those names; from then on it is an attribute like any other."""
    if name not in globals():
        globals()[name] = getattr(_unsampled(_module, _HOMES[name]), name)
    return globals()[name]


def _module(name: str) -> "Any":
    """Return a module of _LATE, at any moment: a handler of a signal may ask for it while its thread is loading it.

    An import statement would give that handler the half that is there, and before 3.12 it cannot itself be interrupted
    by another everywhere. Here each call executes a module of its own, which nobody else sees before it is whole, waits
    for nobody, and returns the first that came to its end. What a program's own import statement has made half is
    replaced: the result of an import is what is in sys.modules at its end.
    """
    path = "mprofile." + name
    made = None
    while True:
        module = _sys.modules.get(path)
        half = getattr(getattr(module, "__spec__", None), "_initializing", False)
        if module is not None and not half:
            return globals().setdefault(name, module)
        if made is None:
            for other in _LATE[name]:
                _module(other)
            made = _executed(path)
        if not half:
            if _sys.modules.setdefault(path, made) is None:
                raise ModuleNotFoundError("sys.modules keeps {!r} from being imported".format(path), name=path)
        elif _sys.modules.get(path) is module:
            _sys.modules[path] = made


def _executed(path: str) -> "Any":
    from _frozen_importlib import module_from_spec  # importlib.util's, which need not be loaded

    for finder in _sys.meta_path:
        spec = finder.find_spec(path, __path__) if hasattr(finder, "find_spec") else None
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ModuleNotFoundError("No module named {!r}".format(path), name=path)


def __getattr__(name: str) -> "Any":
    if name in _HOMES:
        return _load(name)
    if name in _LATE:
        return _unsampled(_module, name)
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
