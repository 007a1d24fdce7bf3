# SPDX-License-Identifier: MIT
"""One process of the stress test: threads that do everything at once, and rests in which what is known is compared.

    python mixture.py SEED SECONDS DIRECTORY        (stress.py runs it, watches it, and says how to repeat it)

WHAT    The seed draws the configuration (Plan) and what each thread does; the order in which the threads come to do it
        is the system's. Phases of a fraction of a second follow each other:

            chaos     every operation, start, stop, clear and refused memory too
            exact     recording of every block; in the end the blocks of the known lines are those recorded, one by one
            sampled   in the end the estimate of the known lines is within six standard errors or so

        In all of them: no exception but those that are documented, the content of blocks stays, the tables are valid, a
        forked child has its thread's blocks, a profile that was written can be read.
EXIT    0; 1 with the reason on stderr. It does not watch itself: a hang is for stress.py to see.
"""

from __future__ import annotations

import collections
import random
import signal
import sys
import sysconfig
import threading
import time
import tracemalloc
from typing import Any, Counter, Deque, Dict, Iterator, List

from worker import HAMMERED, PASSING, WHOLE_LINE, Block, Worker, Wrong, foreign, sizes_by_file

import mprofile
from mprofile import _core, recording
from mprofile.profile import Profile

WITHOUT_GIL = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class Plan:
    """What the seed says of the process. Without a C compiler threads of C and other interpreters are left out."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.workers = draw.randint(2, 6)
        self.hammers = draw.choice((0, 0, 1, 2))
        # A fork beside another interpreter's threads is CPython's own adventure: one or the other.
        self.forks = draw.random() < 0.6
        self.interpreters = not self.forks
        self.switch_interval = 10 ** draw.uniform(-6, -2)
        self.signals = draw.random() < 0.5
        self.allocator = draw.choice(("", "", "debug", "malloc", "malloc_debug"))
        # One arena for all threads and no cache for each: what one gives back the next one gets.
        self.shared = draw.random() < 0.5
        if self.interpreters and sys.version_info < (3, 13):
            # While it makes an interpreter CPython takes all hooks from the raw domain for a moment. What a thread that
            # does without the GIL gets in it has no frame of the debug hooks, and crashes when it goes through them.
            self.allocator = self.allocator.replace("malloc_debug", "malloc").replace("debug", "")

        # tracemalloc's hooks wait for the GIL, so with it no thread may do without: it hangs and crashes by itself.
        self.tracemalloc = draw.random() < 0.25
        if WITHOUT_GIL:
            # A child that is forked while another thread collects, or starts the profiler, hangs at its first
            # collection: it has inherited the lock by which CPython stops the world (3.13).
            self.tracemalloc = self.forks = False
            self.allocator = self.allocator.replace("malloc_debug", "debug").replace("malloc", "")
        if self.tracemalloc:
            self.hammers, self.interpreters = 0, False

    def environment(self) -> Dict[str, str]:
        result = {"PYTHONMALLOC": self.allocator} if self.allocator else {}
        if self.shared:
            result.update(MALLOC_ARENA_MAX="1", GLIBC_TUNABLES="glibc.malloc.tcache_count=0")
        return result

    def __str__(self) -> str:
        return " ".join("{}={!r}".format(name, value) for name, value in sorted(vars(self).items()))


class World:
    """What all threads share."""

    def __init__(self, plan: Plan, seed: int, directory: str) -> None:
        self.plan = plan
        self.directory = directory
        self.draw = random.Random(seed)
        self.session = 0
        self.phase = ""
        self.stopping = threading.Event()
        self.begin = threading.Barrier(plan.workers)
        self.end = threading.Barrier(plan.workers)
        self.over = False
        self.failures: List[str] = []
        self.done: Counter[str] = collections.Counter()
        self.handed: Deque[Block] = collections.deque()
        self.workers = [Worker(self, number, seed) for number in range(plan.workers)]
        self.destructors = threading.Lock()  # in_destructor() is for one thread at a time

    def fail(self, reason: str) -> None:
        self.failures.append(reason)
        self.stopping.set()

    def run(self, seconds: float) -> None:
        """The first worker is the main thread, which also says what comes next."""
        threads = [threading.Thread(target=worker.run) for worker in self.workers[1:]]
        for thread in threads:
            thread.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.failures:
            self.run_phase()
        self.over = True
        self.begin.wait()
        for thread in threads:
            thread.join()

    def run_phase(self) -> None:
        phase = self.draw.choice(("chaos", "exact", "sampled"))
        recording.stop_recording()
        stops = [mprofile.stop, tracemalloc.stop]
        self.draw.shuffle(stops)
        for stop in stops:
            stop()
        if _core.get_traced_memory() != (0, 0):
            self.fail("{} bytes are recorded after a stop".format(_core.get_traced_memory()))
        frames = self.draw.choice((1, 2, 16, 128, 1000))
        self.session += 1
        if phase == "exact":
            _core.start(frames, self.draw.choice((0, 1)))
        elif phase == "sampled":
            _core.start(frames, self.draw.choice((2, 64, 1024, 4096, 65536)))
        self.phase = phase
        self.stopping.clear()
        timer = threading.Timer(self.draw.uniform(0.05, 1.2), self.stopping.set)
        timer.start()
        self.begin.wait()
        self.workers[0].work()
        self.end.wait()
        timer.join()
        if not self.failures:
            try:
                self.check()
            except Wrong as wrong:
                self.fail("{} phase: {}".format(phase, wrong))

    # ---- rests: no other thread of Python does anything ----

    def blocks(self) -> Iterator[Block]:
        """Of the known lines, made in this session."""
        for pool in [*(worker.pool for worker in self.workers), self.handed]:
            yield from (block for block in pool if block.session == self.session)

    def known(self) -> Dict[str, Counter[int]]:
        """Sizes of the blocks by file."""
        sizes: Dict[str, Counter[int]] = {worker.file: collections.Counter() for worker in self.workers}
        for block in self.blocks():
            sizes[block.file][block.size] += 1
        return sizes

    def check(self) -> None:
        for worker in self.workers:
            worker.look_at_all()
        if not _core._valid():
            raise Wrong("the tables do not agree")
        if self.phase == "exact":
            self.check_exact()
        elif self.phase == "sampled":
            self.check_sampled()

    def check_exact(self) -> None:
        drops = _core._info()["drops"]
        recorded = sizes_by_file(_core._get_traces())
        different = 0
        example = ""
        for file, known in self.known().items():
            missing = known - recorded[file]
            added = recorded[file] - known
            different += sum(missing.values()) + sum(added.values())
            example = example or "{}: missing {}, too many {}".format(file, missing, added) * bool(missing or added)
        left = sum(count for sizes in recorded.values() for size, count in sizes.items() if size == PASSING)
        # Who cannot wait for a fork to end counts as dropped (src/core/recorder_fork.c).
        if different + left > (drops if self.plan.forks else 0):
            raise Wrong("{} blocks differ, {} of C stay, {} drops; {}".format(different, left, drops, example))

    def check_sampled(self) -> None:
        snapshot = mprofile.take_snapshot()
        profile = Profile.from_snapshot(snapshot)
        if profile.meta["drops"] and not self.plan.forks:
            raise Wrong("{} drops".format(profile.meta["drops"]))
        estimates = {
            row.filename: row.flat.inuse.bytes_interval(1 - 1e-9)
            for row in profile.rows("line")
            if row.lineno == WHOLE_LINE
        }
        truth = {worker.file: 0 for worker in self.workers}
        for block in self.blocks():
            if isinstance(block.memory, bytes):
                truth[block.file] += block.size
        nothing = (0.0, 25 * profile.meta["sample_rate"])
        for file, size in truth.items():
            low, high = estimates.get(file, nothing)
            if not low <= size <= high and not profile.meta["drops"]:
                raise Wrong("{} has {} bytes, not {:.0f} to {:.0f}".format(file, size, low, high))


def on_signal(number: int, frame: Any) -> None:
    """An allocation and a question, wherever the main thread is."""
    [bytearray(100 * i) for i in range(20)]
    _core.get_traced_memory()


def main() -> int:
    seed, seconds, directory = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    plan = Plan(seed)
    sys.setswitchinterval(plan.switch_interval)
    if plan.signals:
        signal.signal(signal.SIGALRM, on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    if plan.hammers and foreign:
        foreign.hammer(plan.hammers, HAMMERED)
    world = World(plan, seed, directory)
    world.run(seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if plan.hammers and foreign:
        rounds, faults = foreign.rest()
        if faults or not rounds:
            world.failures.append("threads of C found {} faults in {} rounds".format(faults, rounds))
    for failure in world.failures:
        sys.stderr.write(failure + "\n")
    print(dict(world.done))
    return 1 if world.failures else 0


if __name__ == "__main__":
    sys.exit(main())
