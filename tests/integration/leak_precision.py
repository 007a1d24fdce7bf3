# SPDX-License-Identifier: MIT
"""How often `mprofile leaks` finds a planted leak, and how often it accuses what does not leak.

    python tests/integration/leak_precision.py [SEEDS]

Runs each program of leaky.py with SEEDS seeds (default 10), in exact mode and sampled, and prints a table. A suspected
line is right if it is one of those that leak. A run with a leak is found if a line that leaks is suspected.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import List, NamedTuple, Sequence

import leaky

from mprofile.profile import Profile
from mprofile.reports import growth, leaks

PROGRAM = os.path.abspath(leaky.__file__)
RATES = (0, 4096, 16384)


class Result(NamedTuple):
    """Suspected lines, the fastest first in `all`."""

    all: List[str]
    right: List[str]
    wrong: List[str]


def first_innocent_line() -> int:
    with open(PROGRAM) as file:
        return next(number for number, line in enumerate(file, 1) if line.startswith("class Nothing"))


def run(case: str, seed: int, rate: int, directory: str) -> List[str]:
    """The profiles that the program wrote."""
    subprocess.run([sys.executable, PROGRAM, case, str(seed), str(rate), directory], check=True, timeout=300)
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]


def judge(files: Sequence[str]) -> Result:
    series = leaks.Series.of(map(Profile.read, files), "line")
    result = Result([], [], [])
    innocent = first_innocent_line()
    for item in growth.analyse(series.moments):
        if item.verdict == "suspect":
            filename, line = str(item.key[0]), int(str(item.key[1]))
            right = filename == PROGRAM and line < innocent
            place = "{}:{}".format(filename, line)
            result.all.append(place)
            (result.right if right else result.wrong).append(place)
    return result


def main(seeds: int) -> None:
    print("{:<10} {:>7}  {:>5} {:>6}  {:>14} {:>6}".format("leak", "rate", "runs", "found", "lines accused", "wrong"))
    for rate in RATES:
        for case in leaky.CASES:
            found = accused = wrong = 0
            for seed in range(seeds):
                with tempfile.TemporaryDirectory() as directory:
                    result = judge(run(case, seed, rate, directory))
                found += bool(result.right)
                accused += len(result.all)
                wrong += len(result.wrong)
                for place in result.wrong:
                    print("  wrong: {} (seed {})".format(place, seed), file=sys.stderr)
            shown = "-" if case == "none" else str(found)
            print("{:<10} {:>7}  {:>5} {:>6}  {:>14} {:>6}".format(case, rate, seeds, shown, accused, wrong))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
