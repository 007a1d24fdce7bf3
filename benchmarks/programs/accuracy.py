# SPDX-License-Identifier: MIT
"""What a profiler says was alive, by group, beside what was: python accuracy.py DISTRIBUTION LOOPS.

A group is a file of its own (its code is compiled under that name), which allocates blocks of known sizes and keeps
them.

    uniform       16 to 4,096 bytes
    bimodal       64 bytes and 2 MiB, as many bytes of the one as of the other
    heavy-tailed  Pareto with exponent 1.2 from 32 bytes, at most 16 MiB

Says for each group the truth and the estimate: bytes and blocks.
"""

from __future__ import annotations

import os
import random
import sys
import urllib.request
from typing import Any, Dict, List, Tuple

import profile_proto
from timing import profiler, say

GROUPS = 8
HEADER = sys.getsizeof(b"")
CODE = "def allocate(sizes, keep, first):\n    for i in range(len(sizes)):\n        keep[first + i] = bytes(sizes[i])\n"


def sizes_of(distribution: str, group: int, loops: int) -> List[int]:
    """The lengths of one group's blocks. Groups differ in size: each has half as much again as the one before."""
    draw = random.Random(group + 1)
    count = int(loops * 1.5**group)
    if distribution == "uniform":
        found = [draw.randint(16, 4096) for _ in range(count)]
    elif distribution == "bimodal":
        large = max(1, count * 64 // (2 << 20))
        found = [64] * count + [2 << 20] * large
        draw.shuffle(found)
    else:
        found = [min(16 << 20, int(32 * draw.paretovariate(1.2))) for _ in range(count)]
    return [size - HEADER if size > HEADER else 1 for size in found]


def name_of(group: int) -> str:
    return "group-%d.py" % group


def by_functions(module: Any) -> Dict[str, Tuple[float, float]]:
    """From a profiler with tracemalloc's functions."""
    statistics = module.take_snapshot().statistics("filename")
    return {statistic.traceback[0].filename: (statistic.size, statistic.count) for statistic in statistics}


def intervals(module: Any) -> Dict[str, List[float]]:
    """Group -> lower and upper bound of its bytes, from a profiler that samples and gives them."""
    statistics = module.take_snapshot().statistics("filename")
    if not statistics or not hasattr(statistics[0], "size_interval") or not module.get_sample_rate():
        return {}
    return {statistic.traceback[0].filename: list(statistic.size_interval()) for statistic in statistics}


def by_profile() -> Dict[str, Tuple[float, float]]:
    """From what the agent has written or pushed when it was ended."""
    sys.modules["sitecustomize"].finish()
    directory = os.environ["MPROFILE_BENCH_REPORT"]
    written = [name for name in sorted(os.listdir(directory)) if name.endswith(".pprof")]
    if written:
        with open(os.path.join(directory, written[-1]), "rb") as file:
            sums = profile_proto.by_file(profile_proto.unpack(file.read()))
        sizes, counts = sums["heap-space"], sums["heap-live-samples"]
    else:
        with urllib.request.urlopen("http://127.0.0.1:%s/" % os.environ["MPROFILE_BENCH_SINK"]) as answer:
            sums = profile_proto.by_file(profile_proto.pushed(answer.read())[-1])
        sizes, counts = sums["inuse_space"], sums["inuse_objects"]
    return {name: (sizes[name], counts.get(name, 0)) for name in sizes}


def main(distribution: str, loops: int) -> None:
    groups = [sizes_of(distribution, group, loops) for group in range(GROUPS)]
    keep: List[Any] = [None] * sum(len(sizes) for sizes in groups)
    first = 0
    for group, sizes in enumerate(groups):
        scope: Dict[str, Any] = {}
        exec(compile(CODE, name_of(group), "exec"), scope)
        scope["allocate"](sizes, keep, first)
        first += len(sizes)
    truth = {name_of(group): [sum(sizes) + HEADER * len(sizes), len(sizes)] for group, sizes in enumerate(groups)}
    module = profiler()
    bounds = intervals(module) if module else {}
    estimates = by_functions(module) if module else by_profile()
    found = {name: list(estimates.get(name, (0, 0))) for name in truth}
    say([0.0], {"truth": truth, "estimate": found, "intervals": bounds})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
