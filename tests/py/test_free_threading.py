# SPDX-License-Identifier: MIT
"""Many threads at once: 16 of them allocate, in exact and in sampled mode, while others start, stop, clear and copy.

Written for interpreters without a GIL (a free-threaded build, PEP 703; tools/free_threaded.py makes one), where all of
this truly happens at once. With a GIL the same numbers must come out, and the hooks of RAW run without it there, too.

Each test runs in a process of its own, this file as a program: `python test_free_threading.py NAME ARGUMENT ...`. Only
there is it certain that no other test has loaded a module that turns the GIL on again.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from types import FunctionType
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
THREADS = 16
TIMEOUT = 900.0

Program = Callable[..., None]
PROGRAMS: Dict[str, Program] = {}


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


def run(function: Program, *arguments: int) -> None:
    """Runs a program of this file; AssertionError with what it wrote if it fails, or does not end."""
    from processes import output, start  # not there for the programs, which are this file too

    environment = dict(os.environ)
    for name in ("PYTHON_GIL", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "MPROFILERATE"):
        environment.pop(name, None)
    # Warnings are errors: one of them says that a module has turned the GIL on.
    command = [sys.executable, "-W", "error", os.path.abspath(__file__), function.__name__, *map(str, arguments)]
    process = start(command, env=environment, stderr=subprocess.STDOUT)
    out, _ = output(process, TIMEOUT)
    assert process.returncode == 0, "exit status {}\n{}".format(process.returncode, out)


# ---- what the programs share ----


def gil_is_on() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class Crew:
    """Threads that begin together. An exception in one of them is raised by join()."""

    def __init__(self, *functions: Callable[[], None]) -> None:
        self.errors: List[BaseException] = []
        self.gate = threading.Barrier(len(functions))
        self.threads = [threading.Thread(target=self.work, args=(function,)) for function in functions]
        for thread in self.threads:
            thread.start()

    def work(self, function: Callable[[], None]) -> None:
        try:
            self.gate.wait()
            function()
        except BaseException as error:  # noqa: B036 - raised again by join
            self.errors.append(error)

    def join(self) -> None:
        for thread in self.threads:
            thread.join()
        for error in self.errors:
            raise error


# The bytes of one thread, all from one line, in a list that does not grow. Nothing else is allocated there: bytes(size)
# would need a tuple for its argument, and one that is new stays behind in the free list.
MAKER = """
def make(kept, sizes):
    i = 0
    for size in sizes:
        kept[i] = b"x" * size
        i += 1
"""
MAKER_LINE = 5


def maker_of(name: str) -> Callable[[List[Any], List[int]], None]:
    """A make() whose code is in a file of that name."""
    namespace: Dict[str, Any] = {}
    exec(compile(MAKER, name, "exec"), namespace)
    make = namespace["make"]
    assert isinstance(make, FunctionType)
    return make


def file_of(number: int) -> str:
    return "<thread {}>".format(number)


# Of an empty bytes object, as it is asked for: its terminating zero included.
HEADER = sys.getsizeof(b"")


def sizes_of(number: int, count: int) -> List[int]:
    """No empty bytes and none of one byte: those are made once for all."""
    return [100 + number + i % 7 for i in range(count)]


def by_line(snapshot: Any) -> Dict[Tuple[str, int], Tuple[int, int]]:
    """{(file, line): (bytes, blocks)} of the innermost frames."""
    statistics = snapshot.statistics("lineno")
    return {(s.traceback[0].filename, s.traceback[0].lineno): (s.size, s.count) for s in statistics}


def expected_of(sizes: List[int]) -> Tuple[int, int]:
    return sum(sizes) + HEADER * len(sizes), len(sizes)


# ---- the GIL stays off ----


@program
def gil_stays_off() -> None:
    assert gil_is_on() != FREE_THREADED
    import mprofile
    from mprofile import _core

    assert gil_is_on() != FREE_THREADED
    for rate in (0, 512 * 1024):
        mprofile.start(sample_rate=rate)
        kept = [bytes(1000) for _ in range(10)]
        assert len(kept) == 10 and mprofile.take_snapshot() is not None
        mprofile.stop()
    assert _core._info()["live"] == 0
    assert gil_is_on() != FREE_THREADED


def test_the_gil_stays_off() -> None:
    """Importing and using mprofile does not turn the GIL on where it is off, nor warn of anything."""
    run(gil_stays_off)


# ---- exact ----


@program
def exact_numbers() -> None:
    import mprofile
    from mprofile import _core

    count = 4000
    makers = [maker_of(file_of(number)) for number in range(THREADS)]
    common = maker_of("<common>")
    sizes = [sizes_of(number, count) for number in range(THREADS)]
    own: List[List[Any]] = [[None] * count for _ in range(THREADS)]
    shared: List[List[Any]] = [[None] * count for _ in range(THREADS)]

    def allocate(number: int) -> Callable[[], None]:
        def function() -> None:
            makers[number](own[number], sizes[number])
            common(shared[number], sizes[number])
            for i in range(0, count, 2):
                own[number][i] = None

        return function

    mprofile.start()
    crew = Crew(*[allocate(number) for number in range(THREADS)])
    crew.join()
    assert _core._valid()
    found = by_line(mprofile.take_snapshot())
    for number in range(THREADS):
        assert found[file_of(number), MAKER_LINE] == expected_of(sizes[number][1::2]), number
    everything = [size for part in sizes for size in part]
    assert found["<common>", MAKER_LINE] == expected_of(everything)

    # What a thread has left behind is given back by another.
    for kept in own + shared:
        kept[:] = [None] * count
    left = by_line(mprofile.take_snapshot())
    assert not any((name, MAKER_LINE) in left for name in ["<common>", *map(file_of, range(THREADS))])
    assert _core._info()["drops"] == 0 and _core._valid()
    mprofile.stop()
    assert gil_is_on() != FREE_THREADED


def test_exact_numbers() -> None:
    """16 threads, 128,000 blocks: bytes and blocks are right to the last one, of each thread's own line and of the line
    that all of them run."""
    run(exact_numbers)


@program
def exact_resizing() -> None:
    import mprofile
    from mprofile import _core

    buffers: List[List[bytearray]] = [[] for _ in range(THREADS)]
    source = "def grow(buffer, rounds):\n    for _ in rounds:\n        buffer.extend(b'0123456789' * 50)\n"
    namespace: Dict[str, Any] = {}
    exec(compile(source, "<grow>", "exec"), namespace)
    grow = namespace["grow"]

    def allocate(kept: List[bytearray]) -> Callable[[], None]:
        def function() -> None:
            for _ in range(20):
                buffer = bytearray(b"x")
                grow(buffer, range(50))
                kept.append(buffer)

        return function

    mprofile.start()
    Crew(*[allocate(kept) for kept in buffers]).join()
    for kept in buffers:
        assert all(buffer == b"x" + b"0123456789" * 2500 for buffer in kept)
    size, count = by_line(mprofile.take_snapshot())["<grow>", 3]
    # 3.14 and later keep more beside a buffer than its bytes; all have one block a buffer.
    assert count == THREADS * 20 and size >= THREADS * 20 * 25001
    for kept in buffers:
        kept.clear()
    assert ("<grow>", 3) not in by_line(mprofile.take_snapshot())
    assert _core._info()["drops"] == 0 and _core._valid()
    mprofile.stop()


def test_exact_numbers_of_blocks_that_are_resized() -> None:
    """320 buffers grow 50 times each, in 16 threads: each is one block, where it grew last, and goes with it."""
    run(exact_resizing)


# ---- sampled ----


@program
def sampled_numbers() -> None:
    import mprofile
    from mprofile import _core

    count = 8000
    rate = 5000
    makers = [maker_of(file_of(number)) for number in range(THREADS)]
    sizes = [sizes_of(number, count) for number in range(THREADS)]
    own: List[List[Any]] = [[None] * count for _ in range(THREADS)]

    def allocate(number: int) -> Callable[[], None]:
        return lambda: makers[number](own[number], sizes[number])

    mprofile.start(sample_rate=rate)
    Crew(*[allocate(number) for number in range(THREADS)]).join()
    rows = _core._get_traces().statistics("lineno", False)
    assert _core._valid() and _core._info()["drops"] == 0
    mprofile.stop()
    estimates = {row[0][0][0]: row[3] for row in rows if row[0][0][1] == MAKER_LINE}
    total = total_variance = 0.0
    for number in range(THREADS):
        requests = [size + HEADER for size in sizes[number]]
        # Each request is a sample with probability p and then stands for 1/p: variance s^2 (1 - p) / p.
        variance = sum(size * size / math.expm1(size / rate) for size in requests)
        estimate = estimates[file_of(number)][0]
        sigmas = (estimate - sum(requests)) / math.sqrt(variance)
        assert abs(sigmas) < 5, (number, sigmas)
        total += estimate - sum(requests)
        total_variance += variance
    assert abs(total) < 5 * math.sqrt(total_variance), total / math.sqrt(total_variance)


def test_sampled_numbers() -> None:
    """16 threads: the estimate of each thread's bytes, and of all, is within 5 sigmas of the truth."""
    run(sampled_numbers)


# ---- recorded ----


@program
def recorded_numbers() -> None:
    import mprofile
    from mprofile import _core, recording
    from mprofile.profile import Profile

    count = 2000
    sizes = [sizes_of(number, count) for number in range(THREADS)]
    kept: List[List[Any]] = [[None] * count for _ in range(THREADS)]
    done = [threading.Event() for _ in range(THREADS)]

    def allocate(number: int) -> Callable[[], None]:
        make = maker_of(file_of(number))

        def function() -> None:
            for start in range(0, count, 100):
                some: List[Any] = [None] * 100
                make(some, sizes[number][start : start + 100])
                kept[number][start : start + 100] = some
            done[number].set()

        return function

    def record(path: str) -> None:
        """Recordings one after the other, until the threads are done: each file is whole."""
        recordings = 0
        while recordings < 3 or not all(event.is_set() for event in done):
            recording.start_recording(path, every=0.01)
            for _ in range(20):
                time.sleep(0.002)
                assert recording.is_recording() and recording.recording_info()["failures"] == 0
            assert recording.stop_recording()
            assert len(Profile.read(path).traces) > 0
            recordings += 1

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "heap.pb.gz")
        mprofile.start()
        Crew(lambda: record(path), *[allocate(number) for number in range(THREADS)]).join()
        recording.start_recording(path)
        assert recording.stop_recording()
        found = by_line(Profile.read(path).snapshot)
        mprofile.stop()
    for number in range(THREADS):
        assert found[file_of(number), MAKER_LINE] == expected_of(sizes[number]), number
    assert _core._info()["drops"] == 0


def test_recorded_numbers() -> None:
    """16 threads allocate while recordings begin, write a hundred times a second and end: each file is whole, and the
    last has every block."""
    run(recorded_numbers)


# ---- everything at once ----


@program
def everything_at_once(seconds: int) -> None:
    import mprofile
    from mprofile import _core

    until = time.monotonic() + seconds
    counts = {"sessions": 0, "snapshots": 0, "clears": 0}

    def going_on() -> bool:
        """For these seconds; on a busy machine, until enough was done, for ten minutes more at most."""
        now = time.monotonic()
        return now < until or (min(counts.values()) <= 10 and now < until + 600)

    def allocate(number: int) -> Callable[[], None]:
        make = maker_of(file_of(number))
        sizes = sizes_of(number, 200)

        def function() -> None:
            kept: List[Any] = [None] * 200
            while going_on():
                make(kept, sizes)
                # Objects that come from free lists: in exact mode the interpreter calls its reference tracer.
                small = [(float(i), [i]) for i in range(50)]
                assert [len(item) for item in kept] == sizes and len(small) == 50
                buffer = bytearray()
                for _ in range(20):
                    buffer.extend(b"0123456789" * 10)
                assert bytes(buffer) == b"0123456789" * 200

        return function

    def start_and_stop() -> None:
        while going_on():
            mprofile.start(8, (0, 1000, 512 * 1024)[counts["sessions"] % 3])
            time.sleep(0.002 * (counts["sessions"] % 4))
            mprofile.stop()
            counts["sessions"] += 1

    def clear() -> None:
        while going_on():
            mprofile.clear_traces()
            mprofile.reset_peak()
            time.sleep(0.003)
            counts["clears"] += 1

    def look() -> None:
        probe = bytes(5000)
        while going_on():
            traces = _core._get_traces()
            if len(traces):
                rows = traces.statistics("lineno", False)
                assert sum(row[2] for row in rows) >= len(rows) > 0
                assert all(0 < row[1] for row in rows)
            assert mprofile.get_traced_memory()[0] >= 0 and mprofile.get_tracemalloc_memory() >= 0
            mprofile.get_object_traceback(probe)
            assert _core._valid()
            counts["snapshots"] += 1

    allocators = [allocate(number) for number in range(8)]
    Crew(*allocators, start_and_stop, start_and_stop, start_and_stop, clear, clear, look, look, look).join()
    mprofile.stop()
    assert counts["sessions"] > 10 and counts["snapshots"] > 10 and counts["clears"] > 10, counts
    assert mprofile.get_traced_memory() == (0, 0)

    # After all that: nothing is left in the hooks' way, and a new session has the right numbers.
    for _ in range(3):
        exact_numbers()
    assert gil_is_on() != FREE_THREADED


def test_start_stop_clear_and_snapshots_while_threads_allocate() -> None:
    """Eight threads allocate; three start and stop, two clear, three copy and look. Every block keeps its content, the
    tables are consistent at any time, and the sessions after that are exact."""
    run(everything_at_once, 4)


# ---- threads that come and go ----


@program
def thread_churn() -> None:
    import mprofile
    from mprofile import _core

    waves, width = 30, 32
    kept: List[List[Any]] = []
    make = maker_of("<wave>")
    mprofile.start()
    memory = []
    for _ in range(waves):
        lists: List[List[Any]] = [[None] * 3 for _ in range(width)]
        threads = [threading.Thread(target=make, args=(each, [300, 301, 302])) for each in lists]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kept += lists
        memory.append(_core._info()["memory"])
    size, count = by_line(mprofile.take_snapshot())["<wave>", MAKER_LINE]
    assert (size, count) == (waves * width * (903 + 3 * HEADER), waves * width * 3)
    kept.clear()
    lists.clear()
    assert ("<wave>", MAKER_LINE) not in by_line(mprofile.take_snapshot())
    assert _core._info()["drops"] == 0 and _core._valid()
    # The states of threads that have ended serve those that come.
    assert memory[-1] - memory[waves // 3] < 1 << 20, memory
    mprofile.stop()


def test_threads_that_come_and_go() -> None:
    """960 threads in waves of 32: all of their blocks are there, with their stacks, and the profiler does not grow."""
    run(thread_churn)


# ---- code that comes and goes ----


@program
def code_churn(rate: int) -> None:
    import gc

    import mprofile
    from mprofile import _core

    addresses: Set[int] = set()

    def work(number: int) -> Callable[[], None]:
        def function() -> None:
            for i in range(600):
                if i % 40 == number:
                    gc.collect()  # without a GIL nothing else frees code
                name = "<code {} {}>".format(number, i)
                namespace: Dict[str, Any] = {}
                lines = "\n" * (i % 50)
                exec(compile(lines + "def make():\n    return bytes(3000)\n", name, "exec"), namespace)
                block = namespace["make"]()
                addresses.add(id(namespace["make"].__code__))
                traceback = mprofile.get_object_traceback(block)
                assert traceback is not None
                innermost = traceback[len(traceback) - 1]
                assert (innermost.filename, innermost.lineno) == (name, i % 50 + 2), (name, innermost)

        return function

    mprofile.start(sample_rate=rate)
    Crew(*[work(number) for number in range(THREADS)]).join()
    assert len(addresses) < 8600  # of 9600: they were used again
    assert _core._valid() and _core._info()["drops"] == 0
    mprofile.stop()


def test_code_that_comes_and_goes_in_many_threads() -> None:
    """9600 functions, each compiled, called and forgotten, in 16 threads: none is given the name or the line of another
    that was at its address before."""
    for rate in (0, 20):
        run(code_churn, rate)


# ---- one snapshot, many readers ----


@program
def shared_snapshot() -> None:
    import mprofile
    from mprofile import _core

    mprofile.start()
    kept: List[Any] = [None] * 2000
    for number in range(20):
        maker_of(file_of(number))(kept[number * 100 : number * 100 + 100] + [None] * 2000, sizes_of(number, 2000))
    maker_of("<kept>")(kept, sizes_of(0, 2000))
    traces = _core._get_traces()
    mprofile.stop()
    results: List[Optional[Tuple[List[int], Any, Any, bytes]]] = [None] * THREADS

    def read(number: int) -> Callable[[], None]:
        def function() -> None:
            frames = [id(trace[2]) for trace in traces]
            statistics = traces.statistics("lineno", False)
            files = [row[0][0][0] for row in traces.statistics("filename", False)]
            results[number] = (frames, statistics, files, traces.to_pprof((), b""))

        return function

    Crew(*[read(number) for number in range(THREADS)]).join()
    first = results[0]
    assert first is not None and len(first[0]) > 2000 and "<kept>" in first[2]
    # One stack is one tuple of frames, whichever thread asked for it first: sums are by the tuple's identity.
    stacks: Set[int] = set(first[0])
    assert 0 < len(stacks) < 200
    for result in results[1:]:
        assert result is not None and result == first


def test_one_snapshot_read_by_many_threads() -> None:
    """All of them get the same objects, which are made when first asked for."""
    run(shared_snapshot)


if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*map(int, sys.argv[2:]))
