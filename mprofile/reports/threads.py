# SPDX-License-Identifier: MIT
"""Where the thread began that a stack is of.

WHAT    A profile does not say in which thread a block was allocated. But the outermost frames of a stack tell how its
        thread began, and threads that began alike mostly do alike things:

            Thread._bootstrap / Thread._bootstrap_inner / Thread.run / serve / ...      a thread for serve()
            <module> / main / ...                                                       the main thread
            <module> / ... / BaseProcess._bootstrap / BaseProcess.run / work / ...      a process for work()

        What starts threads, greenlets and processes is left out, and the function it was given is the beginning.
        Workers of a pool are of one kind, whatever they were given to do. In a profile of Go the outermost function is
        that of the goroutine.
LIMITS  Threads that began with the same function are one. Of a stack that was cut at max_frames the beginning is not
        known. A function that the interpreter calls by itself (atexit, a thread made in C) is a beginning, too.
"""

from __future__ import annotations

import os
from typing import Callable, Dict, Optional, Tuple

from mprofile._core import FrameTuple
from mprofile.profile import Place, Profile, Row

__all__ = ["CUT", "MAIN", "NOTHING", "STARTING", "beginnings"]

MAIN = "(main thread)"
CUT = "(beginning not recorded)"
STARTING = "(starting threads)"
NOTHING = "(no Python frame)"

#: Kinds of frames: what begins a thread, what a process of multiprocessing begins with in the midst of its parent's
#: stack, what either calls before it calls what it was given. Others are the name of a worker, MAIN, or "".
_FIRST, _PROCESS, _START = "first", "process", "start"
_LEFT_OUT = (_FIRST, _PROCESS, _START)

#: By the end of the file's name and the last part of the function's.
_KINDS = {
    ("threading.py", "_bootstrap"): _FIRST,
    ("threading.py", "_bootstrap_inner"): _START,
    ("threading.py", "run"): _START,
    ("threading.py", "_shutdown"): MAIN,
    ("multiprocessing/process.py", "_bootstrap"): _PROCESS,
    ("multiprocessing/process.py", "run"): _START,
    ("gevent/greenlet.py", "run"): _FIRST,
    ("eventlet/greenthread.py", "main"): _FIRST,
    ("runpy.py", "_run_module_as_main"): MAIN,
    ("site.py", "main"): MAIN,
    ("futures/thread.py", "_worker"): "ThreadPoolExecutor worker",
    ("futures/process.py", "_process_worker"): "ProcessPoolExecutor worker",
    ("multiprocessing/pool.py", "worker"): "multiprocessing.Pool worker",
    ("gevent/threadpool.py", "run"): "gevent ThreadPool worker",
    ("eventlet/tpool.py", "tworker"): "eventlet.tpool worker",
}


def _last(name: Optional[str]) -> str:
    """The last part of a function's name."""
    return (name or "").rpartition(".")[2]


def _kind(name: Optional[str], filename: str) -> str:
    if name == "<module>" or filename.startswith("<frozen "):
        return MAIN
    if name == "runtime.goexit":
        return _FIRST
    function = _last(name)
    parts = filename.split("/")
    return _KINDS.get(("/".join(parts[-2:]), function)) or _KINDS.get((parts[-1], function), "")


def _still_starting(first: FrameTuple, last: FrameTuple, after: FrameTuple) -> bool:
    """Whether what starts threads works for itself, before it calls run() or in it. first, last: frames left out."""
    if after.filename == first.filename:
        return True
    inside = os.path.dirname(after.filename) == os.path.dirname(first.filename)
    return inside and "run" not in (_last(last.name), _last(after.name))


def beginnings(profile: Profile) -> Callable[[Row], Place]:
    """Return a function that says of a stack of the profile where its thread began: filename, first line and name of a
    function; what is in brackets has no file. It is for stacks that stay: it knows frames again by their ids."""
    known: Dict[int, Tuple[str, Place]] = {}
    processes = any(_kind(name, filename) == _PROCESS for name, filename, _ in profile.traces.functions())

    def look_up(frame: FrameTuple) -> Tuple[str, Place]:
        found = known.get(id(frame))
        if found is None:
            kind = _kind(frame.name, frame.filename)
            name = frame.name if kind in ("", MAIN, *_LEFT_OUT) else kind
            found = known[id(frame)] = (kind, (frame.filename, frame.firstlineno or 0, name))
        return found

    def began(row: Row) -> Place:
        frames = row.frames
        if row.total_frames > len(frames):
            return ("", 0, CUT)
        if frames == (("<unknown>", 0),):
            return ("", 0, NOTHING)
        starts = [at for at, frame in enumerate(frames) if look_up(frame)[0] == _PROCESS] if processes else []
        first = starts[-1] if starts else 0
        kind, place = look_up(frames[first])
        if kind == MAIN:
            return ("", 0, MAIN)
        if kind not in (_FIRST, _PROCESS):
            return place
        for at in range(first + 1, len(frames)):
            kind, place = look_up(frames[at])
            if kind not in _LEFT_OUT:
                still = _still_starting(frames[first], frames[at - 1], frames[at])
                return ("", 0, STARTING) if still else place
        return ("", 0, STARTING)

    return began
