# SPDX-License-Identifier: MIT
"""The benchmarks.

    python benchmarks/run.py SUITE [SUITE ...] [options]

    bounds      the bounds that the profiler has to hold
    overhead    pyperformance, servers, numpy and pandas, threads that allocate: time and peak resident set
    micro       loops of one kind of allocation
    growth      time and memory as the heap, the stacks, the threads get more
    accuracy    bytes and blocks by group against the truth

Every configuration of every program runs once a round, in a process of its own, in shuffled order; a figure is the
median over the rounds of the ratio within a round. Results go to --json, which benchmarks/page.py makes a page of.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from typing import Any, Dict, List, Optional

from rounds import bounds, catalogue, tables
from rounds.configurations import SETS, parse_list
from rounds.runner import Program, Record, Runner
from rounds.venvs import Venvs

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUITES = ["bounds", "overhead", "micro", "growth", "accuracy"]
CONFIGURATIONS = {
    "overhead": "own",
    "micro": "none,empty,mprofile:524288:128,mprofile:0:1,mprofile:0:128,tracemalloc:1,tracemalloc:25",
    "growth": "none,mprofile:16:128,mprofile:0:128,tracemalloc:1",
    "accuracy": "mprofile:524288:128,mprofile:131072:128,mprofile:0:128,older:524288:128,pyroscope:524288,"
                "ddtrace:524288",
}
ROUNDS = {"bounds": 9, "overhead": 9, "micro": 5, "growth": 3, "accuracy": 20}


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def facts(arguments: argparse.Namespace) -> Dict[str, Any]:
    import mprofile

    return {
        "python": "%s %s" % (platform.python_implementation(), platform.python_version()),
        "machine": "%s, %d processors, %s" % (processor(), os.cpu_count() or 0, platform.machine()),
        "seed": arguments.seed,
        "mprofile": mprofile.__version__,
    }


def chosen(programs: List[Program], only: List[str]) -> List[Program]:
    return [program for program in programs if not only or program.name in only]


def run_suite(suite: str, arguments: argparse.Namespace, runner: Runner, venvs: Venvs) -> Dict[str, Any]:
    rounds = arguments.rounds or ROUNDS[suite]
    only: List[str] = arguments.only or []
    names = arguments.configurations or CONFIGURATIONS.get(suite, "none")
    configurations = parse_list(names)
    minutes = max(0.001, (arguments.deadline - time.monotonic()) / 60) if arguments.minutes else 0.0
    result: Dict[str, Any] = {"suite": suite, "missing": {}, "records": [],
                              "configurations": [configuration.name for configuration in configurations]}  # fmt: skip

    def keep(records: List[Record]) -> None:
        result["records"] = records
        if arguments.json:
            write_json(arguments.json + ".part", arguments, venvs, [result])

    if suite == "bounds":
        wanted = [name for name in bounds.PROGRAMS if not only or name in only]
        programs = [catalogue.loop(name, arguments.divide) for name in wanted if name != "tornado_http"]
        if "tornado_http" in wanted:
            found = catalogue.pyperformance(venvs, ["tornado_http"], False)
            programs += found.programs
            result["missing"] = found.missing
        result["records"] = bounds.measure(runner, programs, rounds, arguments.seed, minutes)
        return result
    if suite == "overhead":
        others = chosen(catalogue.ours(), only)
        names_of_others = [program.name for program in others]
        if arguments.core or arguments.quick:
            known = catalogue.QUICK if arguments.quick else catalogue.CORE
            wanted = [name for name in known if not only or name in only]
        else:
            wanted = [name for name in only if name not in names_of_others]
        programs = [] if arguments.quick else others
        if wanted or not only:
            found = catalogue.pyperformance(venvs, wanted, arguments.variants)
            programs = found.programs + programs
            result["missing"] = found.missing
    elif suite == "micro":
        programs = chosen([catalogue.loop(name, arguments.divide) for name in catalogue.MICRO], only)
    elif suite == "growth":
        programs = chosen(catalogue.growth(arguments.largest), only)
    else:
        programs = chosen(catalogue.accuracy(), only)
    result["records"] = runner.rounds(programs, configurations, rounds, arguments.seed, minutes, keep)
    return result


def write_json(path: str, arguments: argparse.Namespace, venvs: Venvs, results: List[Dict[str, Any]]) -> None:
    versions = {name: made.packages.get(package, "") for name, made in venvs.made.items()
                for package in [PACKAGES.get(name, "pyperformance")]}  # fmt: skip
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump({"facts": facts(arguments), "versions": versions, "results": results}, file, indent=1)
    os.replace(path + ".new", path)


# Environment -> the package in it whose version the page tells.
PACKAGES = {"base": "pyperformance", "older": "mprofile", "memray": "memray", "pyroscope": "pyroscope-io",
            "ddtrace": "ddtrace", "scalene": "scalene", "fil": "filprofiler"}  # fmt: skip


def main(words: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("suites", nargs="+", choices=SUITES, metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--configurations", metavar="LIST", help="names and sets (%s), by commas" % ", ".join(SETS))
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds (default %s)" % ROUNDS)
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no second round that would end later")
    parser.add_argument("--seed", type=int, default=1, help="of the order of what is run (default 1)")
    parser.add_argument("--only", action="append", metavar="NAME", help="this program alone; may be given again")
    parser.add_argument("--core", action="store_true", help="overhead: the %d best known only" % len(catalogue.CORE))
    parser.add_argument("--variants", action="store_true", help="overhead: all variants of a pyperformance script")
    parser.add_argument("--quick", action="store_true", help="a tenth of the loops; programs that need nothing else")
    parser.add_argument("--largest", type=int, default=10**7, help="growth: up to so many live samples (default 10^7)")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for a process (default 120)")
    parser.add_argument("--venvs", default=os.path.join(ROOT, "build", "bench-venvs"), metavar="DIRECTORY")
    parser.add_argument("--json", metavar="FILE", help="write every result here")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables here as well")
    arguments = parser.parse_args(words)
    arguments.deadline = time.monotonic() + 60 * arguments.minutes
    arguments.divide = 10 if arguments.quick else 1
    venvs = Venvs(arguments.venvs, reuse_own=arguments.quick)
    runner = Runner(venvs, arguments.timeout)
    results = []
    for suite in arguments.suites:
        results.append(run_suite(suite, arguments, runner, venvs))
        if arguments.json:
            write_json(arguments.json, arguments, venvs, results)
    if arguments.json and os.path.exists(arguments.json + ".part"):
        os.remove(arguments.json + ".part")
    text = "\n".join("\n".join(tables.of(result)) + "\n" for result in results)
    if arguments.quick:
        text += "\nA tenth of the loops: rougher than a bound deserves.\n"
    text += "\n%(python)s, %(machine)s, seed %(seed)d, mprofile %(mprofile)s.\n" % facts(arguments)
    print(text)
    if arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
