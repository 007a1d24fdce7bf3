# SPDX-License-Identifier: MIT
"""Runs a program twice from one state, under tracemalloc and under mprofile, and keeps what each of them saw.

WHAT    A process that reads requests, one a line, and forks for each program and each tool. In the child the program
        runs once without the tool, then with it. Wherever it calls snap() the child forks again, and that process
        writes the snapshot and the totals into files. The program's file is called PROGRAM.
WHY     Both children are copies of one process, so what they find of free lists, interned strings and half-filled
        tables is the same to the last byte. A snapshot that is made in a process of its own leaves nothing behind in
        the one that goes on. Run before, a program has its code's caches filled.

        An object that Python takes from a free list is, for tracemalloc, made anew from Python 3.8 on; mprofile is told
        of it from 3.13 on. Between these the free lists are filled with objects that neither has seen, so that programs
        that hold few objects of these types at a time get no others.
"""

from __future__ import annotations

import _thread
import gc
import json
import os
import sys
import tracemalloc
from typing import Any, Callable, Dict, List, Optional

import mprofile
import mprofile.snapshot  # else exact mode loads it at its start, and takes of what free lists have been filled with

PROGRAM = "<program>"
SLOTS = 12

FILLED = (3, 8) <= sys.version_info < (3, 13)

TOOLS: Dict[str, Any] = {"tracemalloc": tracemalloc, "mprofile": mprofile}


def deep(depth: int) -> int:
    """Frames large enough for every program's functions."""
    a = b = c = d = e = f = g = h = depth
    values = (a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h)
    return deep(depth - 1) if depth else len(values)


def settle() -> None:
    """Empties the free lists; and fills them, where that is needed."""
    gc.collect()
    if FILLED:
        lists: List[Any] = [[] for _ in range(100)]
        dicts: List[Any] = [{i: None} for i in range(100)]
        floats = [i + 0.5 for i in range(120)]
        tuples = [tuple(range(size)) for size in range(1, 21) for _ in range(100)]
        del lists, dicts, floats, tuples
        deep(60)


class Session:
    """What a program may do to the tool that watches it."""

    def __init__(self, tool: Any, frames: int, directory: str) -> None:
        self.tool = tool
        self.frames = frames
        self.directory = directory
        self.live = False
        self.taken = 0

    def start(self) -> None:
        self.live = True
        settle()
        self.tool.start(self.frames)
        if not FILLED:
            gc.collect()  # the arguments' tuple, or none, is back on its free list

    def snap(self) -> None:
        if not self.live:
            return
        self.taken += 1
        child = os.fork()  # the snapshot's objects are not to be there afterwards
        if child == 0:
            status = 1
            try:
                totals = self.tool.get_traced_memory()
                gc.collect()  # what lies on free lists would be taken for the snapshot, by each tool otherwise
                base = os.path.join(self.directory, "{}-{:02}".format(self.tool.__name__, self.taken))
                self.tool.take_snapshot().dump(base)
                with open(base + ".totals", "w") as file:
                    json.dump(totals, file)
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(child, 0)[1] != 0:
            raise RuntimeError("no snapshot")

    def clear(self) -> None:
        if self.live:
            self.tool.clear_traces()

    def restart(self) -> None:
        if self.live:
            self.tool.stop()
            self.start()

    def reset_peak(self) -> None:
        if self.live and sys.version_info >= (3, 9):
            self.tool.reset_peak()

    @staticmethod
    def in_thread(work: Callable[[], None]) -> None:
        """Returns when the thread is gone, with all that the interpreter had for it.

        The module threading would do this or that when a thread is late.
        """
        ended = _thread.allocate_lock()
        ended.acquire()

        def run() -> None:
            try:
                work()
            finally:
                ended.release()

        _thread.start_new_thread(run, ())
        ended.acquire()
        while len(os.listdir("/proc/self/task")) > 1:
            pass


def execute(program: Callable[..., None], session: Session) -> None:
    slots: List[Optional[object]] = [None] * SLOTS
    if session.live:
        session.start()
    program(slots, session)
    session.snap()


def measure(tool: Any, request: Dict[str, Any]) -> None:
    gc.disable()
    names: Dict[str, Any] = {"__name__": PROGRAM}
    exec(compile(request["source"], PROGRAM, "exec"), names)
    session = Session(tool, request["frames"], request["directory"])
    execute(names["program"], session)
    gc.freeze()
    session.live = True
    execute(names["program"], session)


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        failed = []
        for name, tool in TOOLS.items():
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    measure(tool, request)
                    status = 0
                except BaseException as error:
                    sys.stderr.write("{!r}\n{}\n".format(error, request["source"]))
                finally:
                    os._exit(status)
            status = os.waitpid(child, 0)[1]
            if status != 0:
                failed.append("{}: status {}".format(name, status))
        sys.stdout.write(json.dumps(failed) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
