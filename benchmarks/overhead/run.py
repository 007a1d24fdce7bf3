# SPDX-License-Identifier: MIT
"""What the profiler costs, side by side with no profiler and with tracemalloc.

    python run.py [--rounds N] [--seed S] [--only NAME] [--json FILE] [--markdown FILE]

Each round runs every configuration of a program once, each in a process of its own, in shuffled order. A figure is the
median over the rounds of the ratio within a round; its spread is the range from the lower to the upper quartile. They
are ratios, not times: machines differ and are shared, but the configurations of one round share what happens to them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import programs

HERE = os.path.dirname(os.path.abspath(__file__))

Results = Dict[str, List[Dict[str, Any]]]  # configuration -> one result a round


class Figure(NamedTuple):
    """A line of the report: what is compared, and the bound it has to hold."""

    title: str
    program: str
    configuration: str
    against: str
    value: Callable[[Dict[str, Any]], float]
    bound: Optional[float]
    at_least: bool = False


def seconds(result: Dict[str, Any]) -> float:
    return float(result["seconds"])


def rss(result: Dict[str, Any]) -> float:
    return float(result["rss"])


def report_seconds(result: Dict[str, Any]) -> float:
    return float(result["snapshot_seconds"]) + float(result["statistics_seconds"])


def per_block(result: Dict[str, Any]) -> float:
    return float(result["profiler_memory"]) / float(result["blocks"])


def constant(result: Dict[str, Any]) -> float:
    return 1.0


S512 = "mprofile:524288:128"
S128 = "mprofile:131072:128"
EXACT = "mprofile:0:128"
R512 = "recording:524288:128"
R128 = "recording:131072:128"

FIGURES = [
    Figure("object() loop, 512 KiB: time", "object_loop", S512, "none", seconds, 1.10),
    Figure("list loop, 512 KiB: time", "list_loop", S512, "none", seconds, 1.05),
    Figure("dict loop, 512 KiB: time", "dict_loop", S512, "none", seconds, 1.05),
    Figure("str loop, 512 KiB: time", "str_loop", S512, "none", seconds, 1.05),
    Figure("tree loop, 512 KiB: time", "tree_loop", S512, "none", seconds, 1.05),
    Figure("realloc growth, 512 KiB: time", "realloc_growth", S512, "none", seconds, 1.05),
    Figure("tornado_http, 128 KiB, 128 frames: time", "tornado_http", S128, "none", seconds, 1.02),
    Figure("tornado_http, 128 KiB, 128 frames: peak RSS", "tornado_http", S128, "none", rss, 1.05),
    *(Figure("%s, an empty hook: time" % title, program, "empty", "none", seconds, None)
      for title, program in (("object() loop", "object_loop"), ("list loop", "list_loop"), ("dict loop", "dict_loop"),
                             ("str loop", "str_loop"), ("tree loop", "tree_loop"), ("realloc growth", "realloc_growth"),
                             ("tornado_http", "tornado_http"))),
    Figure("object() loop, 512 KiB: time recording against not recording", "object_loop", R512, S512, seconds, 1.02),
    Figure("tree loop, 512 KiB: time recording against not recording", "tree_loop", R512, S512, seconds, 1.02),
    Figure("tornado_http, 128 KiB, 128 frames: time recording against not recording",
           "tornado_http", R128, S128, seconds, 1.02),
    Figure("object() loop 20 deep, exact, 128 frames: time against tracemalloc.start(1)",
           "object_deep", EXACT, "tracemalloc:1", seconds, 1 / 2.5),
    Figure("object() loop 20 deep, exact, 128 frames: time", "object_deep", EXACT, "none", seconds, None),
    Figure("10^6 live objects 20 deep, exact, 25 frames: time against tracemalloc.start(1)",
           "live_objects", "mprofile:0:25", "tracemalloc:1", seconds, 1.0),
    Figure("10^6 live objects 20 deep, exact, 25 frames: time against tracemalloc.start(25)",
           "live_objects", "mprofile:0:25", "tracemalloc:25", seconds, None),
    Figure("take_snapshot and statistics('lineno') of 10^6 live blocks: tracemalloc's time against ours",
           "live_objects", "tracemalloc:1", "mprofile:0:25", report_seconds, 10.0, True),
    Figure("profiler's memory per live block, exact: bytes", "live_objects", "mprofile:0:25", "", per_block, 32.0),
    Figure("the same, tracemalloc.start(1): bytes", "live_objects", "tracemalloc:1", "", per_block, None),
]


def build_empty_hook(directory: str) -> None:
    """Compiles the hooks that only pass on, for the interpreter that runs this, and puts them on the workers' path."""
    compiler = os.environ.get("CC", "cc").split()
    target = os.path.join(directory, "empty_hook" + sysconfig.get_config_var("EXT_SUFFIX"))
    subprocess.run(compiler + ["-std=c11", "-O2", "-fPIC", "-shared", "-I", sysconfig.get_paths()["include"],
                               os.path.join(HERE, "empty_hook.c"), "-o", target], check=True)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = directory + (os.pathsep + before if before else "")


def run_once(program: str, configuration: str, loops: int) -> Dict[str, Any]:
    command = [sys.executable, os.path.join(HERE, "worker.py"), program, configuration, str(loops)]
    done = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True, check=True)
    result: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_program(program: str, rounds: int, shuffler: random.Random, quick: bool) -> Results:
    used = [figure for figure in FIGURES if figure.program == program]
    configurations = sorted({figure.configuration for figure in used} | {f.against for f in used if f.against})
    results: Results = {configuration: [] for configuration in configurations}
    loops = programs.LOOPS[program] // (10 if quick and programs.LOOPS[program] > 10 else 1)
    for number in range(rounds):
        shuffler.shuffle(configurations)
        for configuration in configurations:
            results[configuration].append(run_once(program, configuration, loops))
        print("%-16s round %d of %d" % (program, number + 1, rounds), file=sys.stderr)
    return results


def quartiles(values: List[float]) -> Tuple[float, float, float]:
    ordered = sorted(values)
    middle = statistics.median(ordered)
    half = len(ordered) // 2
    low = statistics.median(ordered[: half + len(ordered) % 2])
    high = statistics.median(ordered[half:])
    return low, middle, high


def evaluate(figure: Figure, results: Results) -> Dict[str, Any]:
    ours = [figure.value(result) for result in results[figure.configuration]]
    theirs = [figure.value(result) for result in results[figure.against]] if figure.against else [1.0] * len(ours)
    low, middle, high = quartiles([a / b for a, b in zip(ours, theirs)])
    held = None
    if figure.bound is not None:
        held = middle >= figure.bound if figure.at_least else middle <= figure.bound
    return {"title": figure.title, "low": low, "median": middle, "high": high, "bound": figure.bound,
            "at_least": figure.at_least, "held": held}


def bound_text(row: Dict[str, Any]) -> str:
    if row["bound"] is None:
        return ""
    return "%s %.4g" % (">=" if row["at_least"] else "<=", row["bound"])


def markdown(rows: List[Dict[str, Any]], environment: Dict[str, Any]) -> str:
    lines = ["| what | median | quartiles | bound | |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        verdict = {True: "held", False: "**missed**", None: ""}[row["held"]]
        lines.append("| %s | %.3f | %.3f - %.3f | %s | %s |"
                     % (row["title"], row["median"], row["low"], row["high"], bound_text(row), verdict))
    lines.append("")
    lines.append("%(implementation)s %(python)s, %(machine)s, %(cpus)d processors, %(rounds)d rounds, seed %(seed)d, "
                 "mprofile %(mprofile)s." % environment)
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the profiler costs.")
    parser.add_argument("--rounds", type=int, default=9, help="rounds a program (default 9)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of configurations (default 1)")
    parser.add_argument("--only", action="append", choices=sorted(programs.PROGRAMS), help="this program alone")
    parser.add_argument("--quick", action="store_true", help="a tenth of the loops; for trying the harness")
    parser.add_argument("--json", metavar="FILE", help="write every result of every round here")
    parser.add_argument("--markdown", metavar="FILE", help="write the table here as well")
    arguments = parser.parse_args()
    import mprofile

    shuffler = random.Random(arguments.seed)
    names = arguments.only or [name for name in programs.PROGRAMS if any(f.program == name for f in FIGURES)]
    raw: Dict[str, Results] = {}
    rows: List[Dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        build_empty_hook(directory)
        for name in names:
            raw[name] = run_program(name, arguments.rounds, shuffler, arguments.quick)
    for figure in FIGURES:
        if figure.program in raw:
            rows.append(evaluate(figure, raw[figure.program]))
    environment = {
        "implementation": platform.python_implementation(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 0,
        "rounds": arguments.rounds,
        "seed": arguments.seed,
        "mprofile": mprofile.__version__,
    }
    table = markdown(rows, environment)
    print(table)
    if arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            file.write(table)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"environment": environment, "rows": rows, "raw": raw}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
