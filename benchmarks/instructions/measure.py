# SPDX-License-Identifier: MIT
"""Instructions of ours in an operation, counted by callgrind, against a budget in the tree.

    python measure.py [--budget FILE] [--write] [--json FILE]

Unlike times, counts are the same on a busy machine and an idle one, so a change of a few per cent is seen.
operations.py runs twice under valgrind, with the profiler and without. A count is written for each operation alone,
with few loops and with many, so what happens once cancels. Two figures result for an operation, per loop:

    ours    instructions executed in mprofile's extension module: the budget is for this one
    added   all instructions with the profiler, less all without. Where the allocator below has to look for a block,
            this depends on what lies in its free lists, which is not the same with the profiler and without

The budget says what is allowed for each minor version of CPython, in instructions, and which compiler built what was
counted. --write sets it to what was counted. Exit status 1 if it is exceeded, 3 if there is none for this version.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
BUDGET = os.path.join(HERE, "budget.json")
# Of the budget: for addresses that collide in our tables, and where another compiler built the module.
TOLERANCE = 0.02
TOLERANCE_TABLES = 0.08  # where every loop goes through the table of addresses
TOLERANCE_OTHER_COMPILER = 0.4
ROUNDING = 0.01
NO_BUDGET = 3

OBJECT = re.compile(r"c?ob=\((\d+)\)(?: (.*))?")
COST = re.compile(r"[+\-*\d]\S* (\d+)")
OURS = re.compile(r"/mprofile/_core[^/]*\.so$")


class Count(NamedTuple):
    """Instructions: of everything, and of our own code."""

    total: float
    ours: float


class Figure(NamedTuple):
    ours: float
    added: float


class Budget(NamedTuple):
    compiler: str
    allowed: Dict[str, float]


def read_count(path: str, objects: Dict[str, str]) -> Count:
    """Sums a file of callgrind's. `objects` has the names by number, which a file gives only where it is the first."""
    total = ours = 0
    here = inclusive = False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            cost = COST.match(line)
            if cost:
                if not inclusive:
                    total += int(cost.group(1))
                    ours += int(cost.group(1)) if here else 0
                inclusive = False
                continue
            inclusive = line.startswith("calls=")
            name = OBJECT.match(line)
            if name:
                if name.group(2):
                    objects[name.group(1)] = name.group(2)
                if line.startswith("ob="):
                    here = bool(OURS.search(objects[name.group(1)]))
    return Count(total, ours)


def build_driver(directory: str) -> None:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run(compiler + ["-std=c11", "-O2", "-fPIC", "-shared", "-I", sysconfig.get_paths()["include"],
                               os.path.join(HERE, "driver.c"), "-o", os.path.join(directory, "driver.so")], check=True)


def count(directory: str, mode: str) -> Dict[str, Count]:
    """Instructions a loop of each operation, with the profiler or without."""
    out = os.path.join(directory, mode)
    # Little of the environment gets in; PYTHONPATH may say where the package is.
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment["PYTHONHASHSEED"] = "0"
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out,
               "--zero-before=instructions_measured", "--dump-after=instructions_measured",
               sys.executable, os.path.join(HERE, "operations.py"), directory, mode]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                          env=environment, cwd=directory)
    if done.returncode != 0:
        raise RuntimeError("%s: exit status %d\n%s" % (" ".join(command), done.returncode, done.stderr))
    objects: Dict[str, str] = {}
    counts: Dict[str, List[Tuple[int, Count]]] = {}
    for number, line in enumerate(done.stdout.splitlines(), 1):
        name, loops = line.split("\t")
        counts.setdefault(name, []).append((int(loops), read_count("%s.%d" % (out, number), objects)))
    result = {}
    for name, (_, few, many) in counts.items():
        between = many[0] - few[0]
        result[name] = Count((many[1].total - few[1].total) / between, (many[1].ours - few[1].ours) / between)
    return result


def measure() -> Dict[str, Figure]:
    """What each operation takes. RuntimeError if a program fails; OSError without valgrind or a C compiler."""
    with tempfile.TemporaryDirectory() as directory:
        build_driver(directory)
        without = count(directory, "without")
        profiled = count(directory, "with")
    return {name: Figure(both.ours, both.total - without[name].total) for name, both in profiled.items()}


def version() -> str:
    kinds = [("t", "Py_GIL_DISABLED"), ("d", "Py_DEBUG")]
    kind = "".join(letter for letter, variable in kinds if sysconfig.get_config_var(variable))
    return "%d.%d%s" % (sys.version_info[0], sys.version_info[1], kind)


def compiler() -> str:
    """What built the extension module: name and major version, from what compilers leave in their object files."""
    spec = importlib.util.find_spec("mprofile._core")
    assert spec is not None and spec.origin is not None
    with open(spec.origin, "rb") as file:
        content = file.read()
    for name, pattern in (("clang", rb"clang version (\d+)"), ("gcc", rb"GCC: \([^)]*\) (\d+)")):
        found = re.search(pattern, content)
        if found:
            return "%s %s" % (name, found.group(1).decode())
    return "unknown"


def read_budget(path: str) -> Optional[Budget]:
    """What is allowed with this interpreter; None: nothing is known of it."""
    with open(path, encoding="utf-8") as file:
        content: Dict[str, Any] = json.load(file)
    return Budget(content["compiler"], content["budgets"][version()]) if version() in content["budgets"] else None


def write_budget(path: str, figures: Dict[str, Figure]) -> None:
    """Sets the budget of this version. Those of other versions go if another compiler built what was counted then."""
    budgets: Dict[str, Dict[str, float]] = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        budgets = content["budgets"] if content["compiler"] == compiler() else {}
    budgets[version()] = {name: round(figure.ours, 2) for name, figure in figures.items()}
    ordered = sorted(budgets, key=lambda key: [int(part) for part in re.findall(r"\d+", key)])
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"compiler": compiler(), "budgets": {key: budgets[key] for key in ordered}}, file, indent=1)
        file.write("\n")


def exceeded(figures: Dict[str, Figure], budget: Budget, built_by: str) -> List[str]:
    """The operations that take more than they may, have no budget, or were not measured though they have one."""
    def tolerance(name: str) -> float:
        if built_by != budget.compiler:
            return TOLERANCE_OTHER_COMPILER
        return TOLERANCE_TABLES if name.startswith(("exact:", "sampled:")) else TOLERANCE

    too_many = [name for name, figure in figures.items()
                if figure.ours > budget.allowed.get(name, math.inf) * (1 + tolerance(name)) + ROUNDING]
    return too_many + sorted(set(figures) ^ set(budget.allowed))


def table(figures: Dict[str, Figure], budget: Optional[Budget], wrong: List[str]) -> str:
    lines = ["%-44s %10s %10s %10s" % ("instructions a loop, CPython " + version(), "ours", "budget", "added")]
    for name in list(figures) + [name for name in wrong if name not in figures]:
        allowed = budget.allowed.get(name) if budget else None
        figure = figures.get(name)
        lines.append("%-44s %10s %10s %10s%s" % (
            name,
            "%.2f" % figure.ours if figure else "-",
            "%.2f" % allowed if allowed is not None else "-",
            "%.2f" % figure.added if figure else "-",
            "  <-- not as budgeted" if name in wrong else "",
        ))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Count our instructions in an allocation.")
    parser.add_argument("--budget", metavar="FILE", default=BUDGET, help="what is allowed (default budget.json here)")
    parser.add_argument("--write", action="store_true", help="set the budget of this version to what was counted")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    figures = measure()
    if arguments.write:
        write_budget(arguments.budget, figures)
    budget = read_budget(arguments.budget)
    wrong = exceeded(figures, budget, compiler()) if budget else []
    print(table(figures, budget, wrong))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({name: figure._asdict() for name, figure in figures.items()}, file, indent=1)
    if budget is None:
        print("no budget for CPython %s in %s: --write makes one" % (version(), arguments.budget), file=sys.stderr)
        return NO_BUDGET
    if compiler() != budget.compiler:
        print("built by %s, the budget by %s: %d %% more are allowed"
              % (compiler(), budget.compiler, round(100 * TOLERANCE_OTHER_COMPILER)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
