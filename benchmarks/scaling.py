# SPDX-License-Identifier: MIT
"""What the profiler costs when several threads allocate at once, by threads, and how often they wait for each other.

    python3 benchmarks/scaling.py                                   with this interpreter
    python3 benchmarks/scaling.py --python .../bin/python3.13t      with another, which has mprofile installed
    python3 benchmarks/scaling.py --work c                          in C code that lets go of the GIL
    python3 benchmarks/scaling.py --rate 1                          exact mode

Each thread makes and frees objects of a few sizes, the same number whatever the number of threads; or it hashes and
compresses blocks with hashlib and zlib, which let go of the GIL meanwhile, and makes a few objects between. One process
for each measurement; rounds are interleaved, unprofiled and profiled one after the other, so that what else the machine
does meets both alike. Printed are medians over the rounds, of one thread's nanoseconds an allocation, unprofiled and
profiled, and of the ratio within a round: first by the clock on the wall, then by the thread's own processor time, that
other programs disturb less. With a GIL the wall time grows with the threads; without one it should stay what it is for
one thread, as long as there are processors.

The last two columns are of the profiled processes, the most of any: how often a thread had to wait for the recorder's
lock; and how often a thread that exact mode had spared the lock, for it was alone, had to take it again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Dict, List, Optional, Sequence, Tuple

RATE = 512 * 1024

STORM = """
import json, sys, threading, time
threads, count, rate = map(int, sys.argv[1:4])
if rate:
    import mprofile
    mprofile.start(sample_rate=rate)

# Nothing here is shared between threads, not even a class, whose references 3.13 counts with an atomic instruction.
def python(count):
    kept = [None] * 64
    for i in range(count // 4):
        kept[i & 63] = b"x" * 100
        b"y" * 300
        kept[i & 63] = [None] * 20   # two: the list and its items

def c(count):
    import hashlib, zlib
    data = bytes(range(256)) * 64
    for i in range(count // 4):
        if i % 64 == 0:
            hashlib.sha256(data)
            zlib.decompress(zlib.compress(data, 1))
        kept = [None] * 20
        bytes(300)

storm = {"python": python, "c": c}[sys.argv[4]]

def work(gate, count):
    storm(1000)
    gate.wait()
    start = time.thread_time()
    storm(count)
    busy.append(time.thread_time() - start)
    gate.wait()

busy = []
gate = threading.Barrier(threads + 1)
workers = [threading.Thread(target=work, args=(gate, count)) for _ in range(threads)]
for worker in workers:
    worker.start()
gate.wait()
start = time.perf_counter()
gate.wait()
seconds = time.perf_counter() - start
for worker in workers:
    worker.join()
gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print(json.dumps({
    "wall": seconds / count * 1e9,
    "cpu": sum(busy) / threads / count * 1e9,
    "gil": bool(gil),
    "version": sys.version.split()[0],
    "info": mprofile._core._info() if rate else {},
}))
"""


def measure(python: str, work: str, threads: int, count: int, rate: int) -> Dict[str, object]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MPROFILE"))}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run(
        [python, "-c", STORM, str(threads), str(count), str(rate), work],
        cwd=tempfile.gettempdir(),  # not the source tree, whose package has no extension module
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    if done.returncode != 0:
        sys.exit("scaling: {} failed ({}):\n{}".format(python, done.returncode, done.stderr))
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def figures(python: str, work: str, threads: int, count: int, rate: int) -> Tuple[Dict[str, object], float, float]:
    facts = measure(python, work, threads, count, rate)
    wall, cpu = facts["wall"], facts["cpu"]
    assert isinstance(wall, float) and isinstance(cpu, float)
    return facts, wall, cpu


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter with mprofile installed (default: this)")
    parser.add_argument("--threads", default="1,2,4,8", help="numbers of threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=400000, help="allocations of each thread (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=RATE, help="mean bytes between samples (default: %(default)s)")
    parser.add_argument(
        "--work", choices=("python", "c"), default="python", help="what threads do (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    waits: Dict[int, List[Tuple[int, int]]] = {}
    counts = [int(part) for part in options.threads.split(",")]
    rounds: Dict[int, List[Tuple[float, float, float, float]]] = {threads: [] for threads in counts}
    facts: Dict[str, object] = {}
    for _ in range(options.rounds):
        for threads in counts:
            facts, wall, cpu = figures(options.python, options.work, threads, options.count, 0)
            profiled, profiled_wall, profiled_cpu = figures(
                options.python, options.work, threads, options.count, options.rate
            )
            info = profiled["info"]
            assert isinstance(info, dict)
            waits.setdefault(threads, []).append((info["waits"], info["favours"]))
            rounds[threads].append((wall, profiled_wall, cpu, profiled_cpu))
    print(
        "CPython {}, {}, {} processors, one sample in {} bytes, {} rounds of {} allocations a thread{}".format(
            facts["version"],
            "with a GIL" if facts["gil"] else "without a GIL",
            os.cpu_count(),
            options.rate,
            options.rounds,
            options.count,
            ", in C" if options.work == "c" else "",
        )
    )
    print("threads  wall ns  profiled  ratio  cpu ns  profiled  ratio  waits  favours")
    for threads in counts:
        wall, profiled_wall, cpu, profiled_cpu = (statistics.median(column) for column in zip(*rounds[threads]))
        wall_ratio = statistics.median(each[1] / each[0] for each in rounds[threads])
        cpu_ratio = statistics.median(each[3] / each[2] for each in rounds[threads])
        print(
            "{:7}  {:7.1f}  {:8.1f}  {:5.3f}  {:6.1f}  {:8.1f}  {:5.3f}  {:5}  {:7}".format(
                threads,
                wall,
                profiled_wall,
                wall_ratio,
                cpu,
                profiled_cpu,
                cpu_ratio,
                max(each[0] for each in waits[threads]),
                max(each[1] for each in waits[threads]),
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
