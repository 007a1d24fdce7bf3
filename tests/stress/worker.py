# SPDX-License-Identifier: MIT
"""What one thread of the mixture does (mixture.py): every operation of the profiler and of Python that there is.

WHAT    A Worker holds blocks that its known lines made, hands them to others, and knows their content and sizes. Each
        of its operations is a method; Worker.operations() has their weights. In a forked child it looks whether its
        own blocks are there.
"""

from __future__ import annotations

import collections
import faulthandler
import gc
import os
import random
import signal
import struct
import sys
import threading
import time
import traceback
import tracemalloc
from typing import Any, Callable, Counter, Dict, List, NamedTuple, Optional, Tuple

import mprofile
from mprofile import _core, recording
from mprofile.profile import Profile

try:
    import _hazard_foreign as foreign
    import _hazard_mem as mem
except ImportError:  # there is no C compiler
    foreign = mem = None

#: Known blocks are larger than what their lines make beside them: the int of an address, the tuple of arguments, which
#: Python keeps on a free list.
SMALLEST = 97
#: What threads of C allocate and give back before an operation ends.
PASSING = 70001
CHILD_SECONDS = 60
RAW = 0
#: And a bit more: what threads of C take and give back without end.
HAMMERED = 3000
RATES = (0, 0, 1, 2, 64, 4096, 4096, 512 * 1024)


class Wrong(Exception):
    """What the test is there to find."""


class Block(NamedTuple):
    """A block that a known line made. memory: a bytes object, or an address in a domain."""

    memory: Any
    domain: int
    size: int
    file: str
    session: int
    mark: int


SOURCE = """\
def whole(size, mark):
    return mark * size

def piece(domain, size):
    return malloc(domain, size)

def cleared(domain, size):
    return calloc(domain, 1, size)

def resized(domain, address, size):
    return realloc(domain, address, size)

def apart(size, count):
    return detached(size, count)
"""
WHOLE_LINE = 2


def sizes_by_file(traces: Any) -> Dict[str, Counter[int]]:
    result: Dict[str, Counter[int]] = collections.defaultdict(collections.Counter)
    for trace in traces:
        if trace[1] >= SMALLEST:
            result[trace[2][0][0]][trace[1]] += 1
    return result


class Worker:
    """One thread, its known lines, and the blocks that it holds."""

    def __init__(self, world: Any, number: int, seed: int) -> None:
        self.world = world
        self.number = number
        self.draw = random.Random("{} {}".format(seed, number))
        self.file = "<worker {}>".format(number)
        self.pool: List[Block] = []
        self.names: Dict[str, Any] = {}
        if mem:
            self.names.update(malloc=mem.malloc, calloc=mem.calloc, realloc=mem.realloc, detached=foreign.detached)
        exec(compile(SOURCE, self.file, "exec"), self.names)
        self.threads: List[threading.Thread] = []

    def run(self) -> None:
        while True:
            self.world.begin.wait()
            if self.world.over:
                return
            self.work()
            self.world.end.wait()

    def work(self) -> None:
        operations = self.operations()
        functions = [function for function, _ in operations]
        weights = [weight for _, weight in operations]
        try:
            while not self.world.stopping.is_set():
                for function in self.draw.choices(functions, weights, k=20):
                    self.world.done[function.__name__] += 1
                    function()
            for thread in self.threads:
                thread.join()
            self.threads.clear()
        except BaseException:
            self.world.fail("worker {}, {} phase:\n{}".format(self.number, self.world.phase, traceback.format_exc()))

    def operations(self) -> List[Tuple[Callable[[], None], float]]:
        plan = self.world.plan
        result: List[Tuple[Callable[[], None], float]] = [
            (self.make, 30),
            (self.drop, 30),
            (self.look, 10),
            (self.hand_over, 4),
            (self.objects, 10),
            (self.new_code, 3),
            (self.recurse, 1),
            (self.collect, 1),
            (self.short_thread, 2),
            (self.figures, 3),
            (self.snapshot, 1),
            (self.ask_where, 3),
            (self.record, 0.3),
            (self.stop_recording, 0.3),
            (self.nap, 1),
        ]
        if mem:
            result += [(self.resize, 15), (self.make_piece, 25)]
        if mem and not plan.tracemalloc:
            result += [(self.threads_of_c, 2), (self.without_the_gil, 3), (self.make_apart, 6), (self.drop_apart, 6)]
        if plan.forks:
            result.append((self.fork, 0.5))
        if plan.interpreters and foreign:
            result.append((self.interpreter, 0.1))
        if self.world.phase == "chaos":
            result += [(self.start, 3), (self.stop, 2), (self.clear, 1), (self.refuse, 0.5)]
            if plan.tracemalloc:
                result.append((self.another_tool, 2))
                # os.getcwd() allocates without the GIL, and tracemalloc.stop() in another thread crashes it then.
                result = [(function, weight) for function, weight in result if function != self.record]
        return result

    # ---- known blocks ----

    def size(self) -> int:
        """Mostly small."""
        return SMALLEST + int(2 ** self.draw.uniform(0, 17 if self.draw.random() < 0.1 else 12))

    def make(self) -> None:
        mark = self.draw.randrange(256)
        memory = self.names["whole"](self.size(), bytes([mark]))
        self.pool.append(Block(memory, -1, sys.getsizeof(memory), self.file, self.world.session, mark))

    def make_piece(self) -> None:
        domain, size = self.draw.randrange(3), self.size()
        function = self.names[self.draw.choice(("piece", "cleared"))]
        address = function(domain, size)
        self.pool.append(Block(address, domain, size, self.file, self.world.session, -1))

    def make_apart(self) -> None:
        """Without the GIL, so that it is not alone in the allocator."""
        size = HAMMERED + self.draw.randrange(64) if self.draw.random() < 0.8 else self.size()
        for address in self.names["apart"](size, self.draw.randrange(300)):
            self.pool.append(Block(address, RAW, size, self.file, self.world.session, -1))

    def drop_apart(self) -> None:
        taken = [self.take() for _ in range(self.draw.randrange(500))]
        mine = [block for block in taken if block is not None]
        self.pool += [block for block in mine if block.domain != RAW]
        foreign.release([block.memory for block in mine if block.domain == RAW])

    def resize(self) -> None:
        block = self.take()
        if block is None or isinstance(block.memory, bytes):
            self.give(block)
            return
        size = self.size()
        address = self.names["resized"](block.domain, block.memory, size)
        self.pool.append(Block(address, block.domain, size, self.file, self.world.session, -1))

    def take(self) -> Optional[Block]:
        if not self.pool:
            return None
        i = self.draw.randrange(len(self.pool))
        block = self.pool[i]
        self.pool[i] = self.pool[-1]
        self.pool.pop()
        return block

    def give(self, block: Optional[Block]) -> None:
        if block is not None:
            self.pool.append(block)

    def drop(self) -> None:
        for _ in range(self.draw.choice((0, 1, 1, 2, len(self.pool) // 10))):
            block = self.take()
            if block is not None and not isinstance(block.memory, bytes):
                mem.free(block.domain, block.memory)

    def look(self) -> None:
        block = self.take()
        self.check_content(block)
        self.give(block)

    def look_at_all(self) -> None:
        for block in self.pool:
            self.check_content(block)

    def check_content(self, block: Optional[Block]) -> None:
        if block is not None and isinstance(block.memory, bytes):
            if block.memory.count(block.mark) != len(block.memory):
                raise Wrong("a block of {} bytes has lost its content".format(block.size))

    def hand_over(self) -> None:
        """A block made here is freed or resized by another thread."""
        block = self.take()
        if block is not None:
            self.world.handed.append(block)
        try:
            self.pool.append(self.world.handed.popleft())
        except IndexError:
            pass

    # ---- other things that programs do ----

    def objects(self) -> None:
        kept: List[Any] = []
        for i in range(self.draw.randrange(200)):
            kept.append({"key": [i] * (i % 30), i: str(i) * 3})
        text = bytearray()
        for _ in range(20):
            text.extend(b"x" * self.draw.randrange(500))
        del text[10:]

    def new_code(self) -> None:
        names: Dict[str, Any] = {}
        name = "f{}".format(self.draw.randrange(10**6))
        source = "\n" * self.draw.randrange(50) + "def {}(n):\n  return [bytes(n + i) for i in range(5)]".format(name)
        exec(compile(source, "<{}>".format(name), "exec"), names)
        if len(names[name](100)) != 5:
            raise Wrong("a new function returned something else")

    def recurse(self) -> None:
        def down(depth: int) -> List[Any]:
            return [down(depth - 1), bytearray(depth)] if depth else []

        down(self.draw.randrange(300))

    def collect(self) -> None:
        for _ in range(self.draw.randrange(50)):
            ring: List[Any] = [bytearray(100)]
            ring.append(ring)
        gc.collect(self.draw.randrange(3))

    def short_thread(self) -> None:
        def body() -> None:
            [bytearray(size) for size in sizes]
            if ask:
                _core.get_traced_memory()

        sizes = [self.size() for _ in range(self.draw.randrange(30))]
        ask = self.draw.random() < 0.3
        thread = threading.Thread(target=body)
        thread.start()
        self.threads.append(thread)
        if len(self.threads) > 5:
            self.threads.pop(self.draw.randrange(5)).join()

    def threads_of_c(self) -> None:
        count = self.draw.randrange(20)
        if self.draw.random() < 0.5:
            foreign.release(foreign.in_thread(PASSING, count))
        elif self.world.destructors.acquire(False):
            try:
                foreign.release(foreign.in_destructor(PASSING, count))
            finally:
                self.world.destructors.release()

    def without_the_gil(self) -> None:
        foreign.release(foreign.detached(PASSING, self.draw.randrange(50)))

    def nap(self) -> None:
        time.sleep(self.draw.choice((0, 0, 0.001)))

    def interpreter(self) -> None:
        code = "kept = [bytearray(i) for i in range(200)]\n"
        if self.draw.random() < 0.5:
            code += "from mprofile import _core\n_core._info(); len(_core._get_traces())\n"
        if not foreign.interpreter(code):
            raise Wrong("an interpreter ended with an exception")

    # ---- the profiler ----

    def figures(self) -> None:
        now, peak = _core.get_traced_memory()
        if now < 0 or peak < 0:
            raise Wrong("memory of {} bytes, peak {}".format(now, peak))
        _core.get_tracemalloc_memory()
        if self.draw.random() < 0.3:
            _core.reset_peak()
        if self.draw.random() < 0.3 and not _core._valid():
            raise Wrong("the tables do not agree")

    def ask_where(self) -> None:
        block = self.take()
        if block is not None and isinstance(block.memory, bytes):
            found = mprofile.get_object_traceback(block.memory)
            if self.world.phase == "exact" and block.session == self.world.session:
                if (found is None or found[-1].filename != block.file) and not self.world.plan.forks:
                    raise Wrong("a block of {} was made at {}".format(block.file, found))
        self.give(block)

    def snapshot(self) -> None:
        try:
            traces = _core._get_traces()
            if isinstance(traces, list):
                return
            kind = self.draw.randrange(4)
            if kind == 0:
                mprofile.Snapshot(traces, 1).statistics("lineno")
            elif kind == 1:
                again = _core._traces_from_pprof(traces.to_pprof((), b""))
                before, after = struct.unpack_from("d", traces.totals())[0], struct.unpack_from("d", again.totals())[0]
                if abs(before - after) > 1 + 1e-6 * before:
                    raise Wrong("a profile of {} bytes was written, and read with {}".format(before, after))
            elif kind == 2:
                for trace in traces[: self.draw.randrange(100)]:
                    len(trace[2])
            else:
                traces.differences(_core._make_traces(_core._get_traces()), "filename", False)
        except MemoryError:
            if self.world.phase != "chaos":
                raise

    def record(self) -> None:
        path = os.path.join(self.world.directory, "{}-{}.pb.gz".format(self.number, self.world.done["record"]))
        every = self.draw.choice((0.01, 0.05, 1.0))
        history = os.path.join(self.world.directory, "history") if self.draw.random() < 0.2 else None
        try:
            mprofile.start_recording(path, every, history=history, history_size=1 << 20)
        except (RuntimeError, OSError):
            # A recording runs already, or the profiler does not; or another thread stopped it before the first write.
            return
        if self.draw.random() < 0.5:
            self.nap()
            self.stop_recording()
        try:
            Profile.read(path)
        except FileNotFoundError:
            if self.world.phase != "chaos":
                raise

    def stop_recording(self) -> None:
        recording.recording_info()
        mprofile.stop_recording()

    def start(self) -> None:
        rate = self.draw.choice(RATES)
        most = self.draw.choice((None, None, 0, 50, 3000))
        try:
            _core.start(self.draw.choice((1, 5, 128, 5000)), rate, seed=self.draw.choice((None, 1)), max_live=most)
        except MemoryError:
            pass

    def stop(self) -> None:
        _core.stop()

    def clear(self) -> None:
        try:
            _core.clear_traces()
        except MemoryError:
            pass

    def refuse(self) -> None:
        _core._fail(self.draw.randrange(1, 200), self.draw.choice((0, 1, 10)))

    def another_tool(self) -> None:
        """In any order with start and stop."""
        if tracemalloc.is_tracing():
            tracemalloc.stop()
        else:
            tracemalloc.start(self.draw.choice((1, 10)))

    # ---- fork ----

    def fork(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
        _, status = os.waitpid(pid, 0)
        if status != 0:
            raise Wrong("a child ended with wait status {}".format(status))

    def in_child(self) -> None:
        status = 1
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
            signal.alarm(CHILD_SECONDS)
            self.check_child()
            status = 0
        except BaseException:
            os.write(2, "in a child, {} phase:\n{}".format(self.world.phase, traceback.format_exc()).encode())
        finally:
            os._exit(status)

    def check_child(self) -> None:
        if not _core._valid():
            raise Wrong("the tables do not agree")
        if self.world.phase == "exact":
            recorded = sizes_by_file(_core._get_traces())
            known: Dict[str, Counter[int]] = collections.defaultdict(collections.Counter)
            for block in self.pool:
                if block.session == self.world.session:
                    known[block.file][block.size] += 1
            missing = sum((known[file] - recorded[file] for file in known), collections.Counter())
            if sum(missing.values()) > _core._info()["drops"]:
                raise Wrong("the child lacks {}".format(missing))
        self.look_at_all()
        kind = self.draw.randrange(6)
        if kind == 0:
            self.pool.clear()
            gc.collect()
        elif kind == 1:
            _core.stop()
            _core.start(16, 0)
            self.make()
            recorded = sizes_by_file(_core._get_traces())
            # tracemalloc on top takes memory of its own, which counts as the line's.
            if not recorded[self.file][self.pool[-1].size] or len(recorded[self.file]) > 1 + tracemalloc.is_tracing():
                raise Wrong("a new recording of a child has {}".format(recorded[self.file]))
        elif kind == 2:
            thread = threading.Thread(target=self.objects)
            thread.start()
            thread.join()
        elif kind == 3 and self.draw.random() < 0.5:
            self.fork()
        elif kind == 4:
            mprofile.stop_recording()
        for _ in range(20):
            self.make()
            self.drop()
        if not _core._valid():
            raise Wrong("the tables do not agree")
