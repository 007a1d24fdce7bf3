# SPDX-License-Identifier: MIT
"""The programs of each suite, and how many loops of them are run.

pyperformance's benchmarks are found in the base environment. How many loops they need is tried once, without a
profiler, and kept beside the environments; one that does not run here is reported with its exit status.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, NamedTuple, Tuple

from .runner import Program, last_line
from .venvs import BENCHMARKS, LEFT_OUT, Venvs, pyperformance_scripts

PROGRAMS = os.path.join(BENCHMARKS, "programs")
LOOPS = os.path.join(PROGRAMS, "loops.py")
# What one value of a benchmark shall take at least, in seconds.
SHORTEST = 0.05

# Programs of the suite `micro`, and their loops.
MICRO: Dict[str, int] = {
    "object_loop": 200_000, "object_10_deep": 100_000, "object_100_deep": 100_000, "object_1000_deep": 50_000,
    "tuple_loop": 200_000, "list_loop": 100_000, "dict_loop": 60_000, "str_loop": 60_000, "tree_loop": 40,
    "realloc_growth": 60, "realloc_in_c": 20_000, "generators": 100_000, "coroutines": 20_000,
    "freed_elsewhere": 100_000,
    **{"%s_%d_bytes" % (domain, size): 1_000_000 for domain in ("raw", "mem", "obj") for size in (16, 512, 4096)},
}  # fmt: skip
# Those of the table of bounds besides.
BOUNDS = {"object_deep": 100_000, "live_objects": 1_000_000, "live_stacks": 1_000_000, "import_loop": 20}
# pyperformance's best known, of all kinds: parsers, templates, servers, numbers, text.
CORE = ["2to3", "async_generators", "async_tree", "chameleon", "chaos", "comprehensions", "coroutines", "deepcopy",
        "deltablue", "django_template", "dulwich_log", "float", "generators", "genshi", "go", "hexiom",
        "html5lib", "json_dumps", "json_loads", "logging", "mako", "nbody", "pickle", "raytrace",
        "regex_compile", "richards", "sqlalchemy_declarative", "sqlglot_v2", "sympy", "tornado_http",
        "xml_etree"]
# Those of them that need nothing but pyperformance and tornado, and are soon done.
QUICK = ["chaos", "deltablue", "generators", "json_dumps", "pickle", "regex_compile", "richards", "tornado_http"]
STORMS = {"storm_2_threads": 100_000, "storm_8_threads": 100_000}
TABLES = {"numpy": 40, "pandas": 2}
SERVERS = {"wsgi": 600, "asgi": 800}


class Catalogue(NamedTuple):
    programs: List[Program]
    missing: Dict[str, str]  # benchmark -> why it does not run here


def micro() -> List[Program]:
    return [Program(name, "json", LOOPS, (name,), loops) for name, loops in MICRO.items()]


def loop(name: str, divide: int = 1) -> Program:
    """A program of loops.py; a part of its loops, for trying a thing out."""
    loops = {**MICRO, **BOUNDS, **STORMS}[name]
    return Program(name, "json", LOOPS, (name,), max(1, loops // divide))


def growth(largest: int) -> List[Program]:
    """Powers of ten, up to `largest` live samples."""
    script = os.path.join(PROGRAMS, "growth.py")
    points = [("live", 10**power) for power in range(4, 8)] + [("stacks", 10**power) for power in range(2, 7)]
    points += [("threads", number) for number in (1, 2, 4, 8, 16)]
    return [Program("%s %d" % point, "json", script, (point[0],), point[1]) for point in points if point[1] <= largest]


def accuracy() -> List[Program]:
    script = os.path.join(PROGRAMS, "accuracy.py")
    loops = {"uniform": 2_000, "bimodal": 20_000, "heavy-tailed": 5_000}
    return [Program(name, "json", script, (name,), number) for name, number in loops.items()]


def ours() -> List[Program]:
    """Beside pyperformance: threads, tables, servers."""
    return (
        [Program(name, "json", LOOPS, (name,), loops) for name, loops in STORMS.items()]
        + [Program(name, "json", os.path.join(PROGRAMS, "tables.py"), (name,), loops) for name, loops in TABLES.items()]
        + [Program(name, "json", os.path.join(PROGRAMS, "web.py"), (name,), loops) for name, loops in SERVERS.items()]
    )


def variants(script: str, all_of_them: bool) -> List[Tuple[str, Tuple[str, ...]]]:
    """(name, arguments) of what one script of pyperformance's can run."""
    directory = os.path.dirname(script)
    found = []
    for path in [os.path.join(directory, "pyproject.toml")] + sorted(glob.glob(os.path.join(directory, "bm_*.toml"))):
        with open(path, encoding="utf-8") as file:
            section = file.read().partition("[tool.pyperformance]")[2]
        name = re.search(r'^name\s*=\s*"([^"]+)"', section, re.MULTILINE)
        options = re.search(r"^extra_opts\s*=\s*\[([^\]]*)\]", section, re.MULTILINE)
        if name:
            found.append((name.group(1), tuple(re.findall(r'"([^"]*)"', options.group(1) if options else ""))))
    return found if all_of_them else found[:1]


def calibrate(python: str, script: str, arguments: Tuple[str, ...]) -> Dict[str, Any]:
    """{"loops": N, "seconds": what they take}, or {"error": why it does not run}."""
    with tempfile.TemporaryDirectory() as directory:
        return calibrate_in(directory, python, script, arguments)


def calibrate_in(directory: str, python: str, script: str, arguments: Tuple[str, ...]) -> Dict[str, Any]:
    out = os.path.join(directory, "calibration.json")
    command = [python, script, "--worker", "--worker-task=0", "--calibrate-loops", "--min-time=%g" % SHORTEST,
               "--warmups=1", "--values=1", "--output", out, *arguments]  # fmt: skip
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
            universal_newlines=True, env=variables, cwd=os.path.dirname(script),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": "still running after a minute"}
    if done.returncode != 0 or not os.path.exists(out):
        return {"error": "exit status %d; %s" % (done.returncode, last_line(done.stderr) or last_line(done.stdout))}
    with open(out, encoding="utf-8") as file:
        loops, seconds = json.load(file)["benchmarks"][0]["runs"][0]["warmups"][-1]
    return {"loops": loops, "seconds": loops * seconds}


def values_of(seconds: float) -> Tuple[int, int]:
    """(warm-ups, values) of a process: what takes long is steady enough, and there are many programs."""
    return (1, 3) if seconds < 0.25 else (1, 1) if seconds < 1 else (0, 1)


def pyperformance(venvs: Venvs, names: List[str], all_variants: bool) -> Catalogue:
    """`names`: these alone, in this order; all if empty."""
    base = venvs.get("base")
    if base.error:
        return Catalogue([], {"pyperformance": base.error})
    command = [base.python, "-c", "import pyperformance; print(pyperformance.__path__[0])"]
    found = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True)
    if found.returncode != 0:
        return Catalogue([], {"pyperformance": "not installed for %s" % base.python})
    path = os.path.join(venvs.directory, "calibration.json")
    known: Dict[str, Dict[str, Any]] = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
    programs: Dict[str, Program] = {}
    missing: Dict[str, str] = {}
    for script in pyperformance_scripts(os.path.dirname(found.stdout.strip())).values():
        for name, arguments in variants(script, all_variants):
            if name in LEFT_OUT or (names and name not in names):
                if name in LEFT_OUT and not names:
                    missing[name] = "left out: " + LEFT_OUT[name]
                continue
            if "seconds" not in known.get(name, {}):
                print("trying %s" % name, file=sys.stderr)
                known[name] = calibrate(base.python, script, arguments)
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(known, file, indent=1, sort_keys=True)
            if "loops" in known[name]:
                loops, seconds = known[name]["loops"], known[name]["seconds"]
                programs[name] = Program(name, "pyperf", script, arguments, loops, *values_of(seconds))
            else:
                missing[name] = known[name]["error"]
    return Catalogue([programs[name] for name in names or sorted(programs) if name in programs], missing)
