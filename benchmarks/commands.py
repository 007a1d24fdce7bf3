# SPDX-License-Identifier: MIT
"""How long the commands take from the shell.

    python benchmarks/commands.py [--rounds N] [--directory DIR] [--json FILE]

`mprofile report` of a profile of 1,000 stacks, and `mprofile flamegraph` of one of 100,000, which are made here and are
the same each time: stacks of 10 to 30 frames, as of a web server. Each command runs once a round, in a process of its
own, after one run that does not count. Printed are medians and, in brackets, the least and the most: of the time that
passed, and of the processor's time, which other programs on the machine disturb less. Bounds are on the medians of the
time that passed; exit status 1 says that one was not held.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, NamedTuple, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from pprof_maker import make_pprof, web_server  # noqa: E402

#: Mean bytes between samples that the profiles say they have.
RATE = 524288
LARGEST_PAGE = 10 * 1000 * 1000


class Command(NamedTuple):
    """words: after `mprofile`; {} stands for the directory. bound: most seconds."""

    title: str
    stacks: int
    words: Sequence[str]
    bound: float


COMMANDS = (
    Command("report, 1,000 stacks", 1000, ("report", "{}/1000.pb.gz"), 0.150),
    Command("report --by thread, 1,000 stacks", 1000, ("report", "--by", "thread", "{}/1000.pb.gz"), 0.150),
    Command("flamegraph, 100,000 stacks", 100000, ("flamegraph", "-o", "{}/page.html", "{}/100000.pb.gz"), 2.0),
)


class Run(NamedTuple):
    """Seconds."""

    passed: float
    processor: float


def make_files(directory: str) -> None:
    for stacks in sorted({command.stacks for command in COMMANDS}):
        path = os.path.join(directory, "%d.pb.gz" % stacks)
        if os.path.exists(path):
            continue
        with open(path + ".new", "wb") as file:
            file.write(make_pprof(web_server(stacks), RATE))
        os.replace(path + ".new", path)


def run(words: Sequence[str]) -> Run:
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    passed = time.perf_counter() - begun
    process.returncode = status
    if status != 0:
        sys.exit("%s failed with status %d" % (" ".join(words), status))
    return Run(passed, usage.ru_utime + usage.ru_stime)


def spread(seconds: Sequence[float]) -> str:
    numbers = [1000 * one for one in (statistics.median(seconds), min(seconds), max(seconds))]
    return "{:,.0f} ({:,.0f}..{:,.0f}) ms".format(*numbers)


def measure(directory: str, rounds: int) -> Dict[str, List[Run]]:
    mprofile = os.path.join(os.path.dirname(sys.executable), "mprofile")
    if not os.path.exists(mprofile):
        sys.exit("%s is not there: run this with an interpreter that mprofile is installed for" % mprofile)
    runs: Dict[str, List[Run]] = {command.title: [] for command in COMMANDS}
    for number in range(rounds + 1):
        for command in COMMANDS:
            one = run([mprofile, *(word.format(directory) for word in command.words)])
            if number > 0:
                runs[command.title].append(one)
    return runs


def show(runs: Dict[str, List[Run]], page: int) -> bool:
    """Print the table. Returns whether all bounds were held."""
    print("| command | time | processor's time | bound |")
    print("|---|---|---|---|")
    held = page < LARGEST_PAGE
    for command in COMMANDS:
        passed, processor = ([run[i] for run in runs[command.title]] for i in (0, 1))
        good = statistics.median(passed) <= command.bound
        held = held and good
        word = "held" if good else "**missed**"
        print("| %s | %s | %s | %.0f ms: %s |"
              % (command.title, spread(passed), spread(processor), 1000 * command.bound, word))  # fmt: skip
    print("\nThe page has %.1f MB; the bound is %.0f MB." % (page / 1e6, LARGEST_PAGE / 1e6))
    return held


def count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("%r is not a whole number, 1 or more" % text)
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="How long the commands take from the shell.", allow_abbrev=False)
    parser.add_argument("--rounds", type=count, default=9, help="runs that count (default: %(default)s)")
    parser.add_argument("--directory", help="keep the profiles there, for the next time (default: a temporary one)")
    parser.add_argument("--json", metavar="FILE", help="write all runs there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or temporary
        os.makedirs(directory, exist_ok=True)
        make_files(directory)
        runs = measure(directory, options.rounds)
        page = os.path.getsize(os.path.join(directory, "page.html"))
    if options.json:
        result: Dict[str, Any] = {title: [run._asdict() for run in some] for title, some in runs.items()}
        with open(options.json, "w") as file:
            json.dump({"runs": result, "page": page}, file, indent=1)
    return 0 if show(runs, page) else 1


if __name__ == "__main__":
    sys.exit(main())
