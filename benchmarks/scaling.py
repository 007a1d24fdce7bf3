# SPDX-License-Identifier: MIT
"""What the profiler costs when several threads allocate at once, by threads, and how often they wait for each other.

    python3 benchmarks/scaling.py                                   with this interpreter
    python3 benchmarks/scaling.py --python .../bin/python3.13t      with another, which has mprofile installed
    python3 benchmarks/scaling.py --work python,c --rate 524288,1   C code that lets go of the GIL, and exact mode, too

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
from typing import Any, Dict, List, Optional, Sequence, Tuple

RATE = 512 * 1024
Mode = Dict[str, Any]

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


def measure_mode(python: str, work: str, rate: int, counts: List[int], options: argparse.Namespace) -> Mode:
    """One kind of work at one rate, with each number of threads."""
    rounds: Dict[int, List[Tuple[float, float, float, float]]] = {threads: [] for threads in counts}
    waits: Dict[int, List[Tuple[int, int]]] = {threads: [] for threads in counts}
    facts: Dict[str, object] = {}
    for _ in range(options.rounds):
        for threads in counts:
            facts, wall, cpu = figures(python, work, threads, options.count, 0)
            profiled, profiled_wall, profiled_cpu = figures(python, work, threads, options.count, rate)
            info = profiled["info"]
            assert isinstance(info, dict)
            waits[threads].append((info["waits"], info["favours"]))
            rounds[threads].append((wall, profiled_wall, cpu, profiled_cpu))
    title = "CPython {}, {}, {} processors, {}, {} rounds of {} allocations a thread, {}".format(
        facts["version"],
        "with a GIL" if facts["gil"] else "without a GIL",
        os.cpu_count(),
        "one sample in {} bytes".format(rate) if rate > 1 else "exact",
        options.rounds,
        options.count,
        "in C" if work == "c" else "in Python",
    )
    rows = []
    for threads in counts:
        wall, profiled_wall, cpu, profiled_cpu = (statistics.median(column) for column in zip(*rounds[threads]))
        wall_ratio = statistics.median(each[1] / each[0] for each in rounds[threads])
        cpu_ratio = statistics.median(each[3] / each[2] for each in rounds[threads])
        most = [max(column) for column in zip(*waits[threads])]
        rows.append([threads, wall, profiled_wall, wall_ratio, cpu, profiled_cpu, cpu_ratio, *most])
    return {"title": title, "rows": rows}


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter with mprofile installed (default: this)")
    parser.add_argument("--threads", default="1,2,4,8", help="numbers of threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=400000, help="allocations of each thread (default: %(default)s)")
    parser.add_argument("--rate", default=str(RATE), help="mean bytes between samples; several by commas (%(default)s)")
    parser.add_argument("--work", default="python", help="what threads do: python, c, or python,c (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the results here, for page.py")
    options = parser.parse_args(argv)
    works = options.work.split(",")
    if not set(works) <= {"python", "c"}:
        parser.error("--work {!r} is not python, c or python,c".format(options.work))
    if not all(rate.isdigit() and int(rate) > 0 for rate in options.rate.split(",")):
        parser.error("--rate {!r} is not a number of bytes from 1 on, or several by commas".format(options.rate))
    counts = [int(part) for part in options.threads.split(",")]
    modes = []
    for work in works:
        for rate in map(int, options.rate.split(",")):
            mode = measure_mode(options.python, work, rate, counts, options)
            modes.append(mode)
            print(mode["title"])
            print("threads  wall ns  profiled  ratio  cpu ns  profiled  ratio  waits  favours")
            for row in mode["rows"]:
                print("{:7}  {:7.1f}  {:8.1f}  {:5.3f}  {:6.1f}  {:8.1f}  {:5.3f}  {:5}  {:7}".format(*row))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"results": [{"suite": "threads", "modes": modes}]}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
