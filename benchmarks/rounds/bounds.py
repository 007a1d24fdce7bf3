# SPDX-License-Identifier: MIT
"""The bounds that the profiler has to hold, and whether it does."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from .configurations import parse
from .ratios import select, spread, value_of
from .runner import Program, Record, Runner


class Figure(NamedTuple):
    """A line of the table: what is compared, and the bound it has to hold."""

    title: str
    program: str
    configuration: str
    against: str
    value: Callable[[Record], Optional[float]]
    bound: Optional[float]
    at_least: bool = False


def seconds(record: Record) -> Optional[float]:
    return value_of(record, "seconds")


def rss(record: Record) -> Optional[float]:
    return value_of(record, "rss")


def report_seconds(record: Record) -> Optional[float]:
    return float(record["extra"]["snapshot_seconds"]) + float(record["extra"]["statistics_seconds"])


def per_block(record: Record) -> Optional[float]:
    return float(record["extra"]["profiler_memory"]) / float(record["extra"]["blocks"])


def milliseconds(name: str) -> Callable[[Record], Optional[float]]:
    return lambda record: 1e3 * float(record["extra"][name])


def import_ratio(record: Record) -> Optional[float]:
    return float(record["extra"]["import_seconds"]) / float(record["extra"]["tracemalloc_seconds"])


S512 = "mprofile:524288:128"
S128 = "mprofile:131072:128"
EXACT = "mprofile:0:128"
R512 = "recording:524288:128"
R128 = "recording:131072:128"

TITLES = {
    "object_loop": "object() loop",
    "list_loop": "list loop",
    "dict_loop": "dict loop",
    "str_loop": "str loop",
    "tree_loop": "tree loop",
    "realloc_growth": "realloc growth",
    "tornado_http": "tornado_http",
}
LIMITS_512 = {"object_loop": 1.10, "list_loop": 1.05, "dict_loop": 1.05, "str_loop": 1.05, "tree_loop": 1.05,
              "realloc_growth": 1.05}  # fmt: skip

#: Part of a snapshot's work, and milliseconds that it may take.
SNAPSHOT = [
    ("snapshot_seconds", "take_snapshot()", 50.0),
    ("stopped_seconds", "longest stop of another thread meanwhile", 10.0),
    ("statistics_seconds", "statistics('lineno')", 50.0),
    ("compare_seconds", "compare_to()", 50.0),
    ("filter_seconds", "filter_traces()", 50.0),
]

FIGURES = [
    *(Figure("%s, 512 KiB: time" % TITLES[program], program, S512, "none", seconds, limit)
      for program, limit in LIMITS_512.items()),
    Figure("tornado_http, 128 KiB, 128 frames: time", "tornado_http", S128, "none", seconds, 1.01),
    Figure("tornado_http, 128 KiB, 128 frames: peak RSS", "tornado_http", S128, "none", rss, 1.02),
    Figure("tornado_http, exact, 128 frames: time", "tornado_http", EXACT, "none", seconds, 1.35),
    *(Figure("%s, an empty hook: time" % title, program, "empty", "none", seconds, None)
      for program, title in TITLES.items()),
    Figure("object() loop, 512 KiB: time recording against not recording", "object_loop", R512, S512, seconds, 1.02),
    Figure("tree loop, 512 KiB: time recording against not recording", "tree_loop", R512, S512, seconds, 1.02),
    Figure("tornado_http, 128 KiB, 128 frames: time recording against not recording",
           "tornado_http", R128, S128, seconds, 1.02),
    Figure("object() loop 20 deep, exact, 128 frames: time against tracemalloc.start(1)",
           "object_deep", EXACT, "tracemalloc:1", seconds, 1 / 4),
    Figure("object() loop 20 deep, exact, 128 frames: time", "object_deep", EXACT, "none", seconds, 3.3),
    Figure("10^6 live objects 20 deep, exact, 25 frames: time against tracemalloc.start(1)",
           "live_objects", "mprofile:0:25", "tracemalloc:1", seconds, 1.0),
    Figure("10^6 live objects 20 deep, exact, 25 frames: time against tracemalloc.start(25)",
           "live_objects", "mprofile:0:25", "tracemalloc:25", seconds, None),
    Figure("take_snapshot and statistics('lineno') of 10^6 live blocks: tracemalloc's time against ours",
           "live_objects", "tracemalloc:1", "mprofile:0:25", report_seconds, 10.0, True),
    *(Figure("10^6 live blocks of %s stacks, exact, %s: ms" % (stacks, what), program, "mprofile:0:25", "",
             milliseconds(name), limit)
      for program, stacks in (("live_objects", "few"), ("live_stacks", "10,000"))
      for name, what, limit in SNAPSHOT),
    *(Figure("the same by tracemalloc.start(1), %s: ms" % what, "live_objects", "tracemalloc:1", "",
             milliseconds(name), None)
      for name, what, _ in SNAPSHOT),
    Figure("import mprofile: time against import tracemalloc", "import_loop", S512, "", import_ratio, 1.0),
    Figure("profiler's memory per live block, exact: bytes", "live_objects", "mprofile:0:25", "", per_block, 24.0),
    Figure("the same, tracemalloc.start(1): bytes", "live_objects", "tracemalloc:1", "", per_block, None),
]  # fmt: skip

PROGRAMS = sorted({figure.program for figure in FIGURES})


def configurations_of(program: str) -> List[str]:
    used = [figure for figure in FIGURES if figure.program == program]
    return sorted({figure.configuration for figure in used} | {figure.against for figure in used if figure.against})


def measure(runner: Runner, programs: Sequence[Program], rounds: int, seed: int, minutes: float) -> List[Record]:
    """Each program with the configurations that its figures need; of `minutes` (0: no limit) each has its share."""
    records: List[Record] = []
    for program in programs:
        needed = [parse(name) for name in configurations_of(program.name)]
        records += runner.rounds([program], needed, rounds, seed, minutes / len(programs), spare_slow=False)
    return records


def evaluate(figure: Figure, records: Sequence[Record]) -> Optional[Dict[str, Any]]:
    """A row of the table; None where the programs did not run."""
    base: Dict[int, Optional[float]] = {}
    for record in select(records, figure.program, figure.against):
        base[record["round"]] = figure.value(record) if record["status"] == 0 else None
    values = []
    for record in select(records, figure.program, figure.configuration):
        mine = figure.value(record) if record["status"] == 0 else None
        theirs = base.get(record["round"]) if figure.against else 1.0
        if mine is not None and theirs:
            values.append(mine / theirs)
    found = spread(values)
    if found is None:
        return None
    held = None
    if figure.bound is not None:
        held = found.median >= figure.bound if figure.at_least else found.median <= figure.bound
    return {"title": figure.title, "low": found.low, "median": found.median, "high": found.high, "bound": figure.bound,
            "at_least": figure.at_least, "held": held}  # fmt: skip


def rows(records: Sequence[Record]) -> List[Dict[str, Any]]:
    found = [evaluate(figure, records) for figure in FIGURES]
    return [row for row in found if row is not None]


def bound_text(row: Dict[str, Any]) -> str:
    if row["bound"] is None:
        return ""
    return "%s %.4g" % (">=" if row["at_least"] else "<=", row["bound"])


def table(records: Sequence[Record]) -> List[str]:
    lines = ["| what | median | quartiles | bound | |", "| --- | --- | --- | --- | --- |"]
    for row in rows(records):
        verdict = {True: "held", False: "**missed**", None: ""}[row["held"]]
        lines.append("| %s | %.3f | %.3f - %.3f | %s | %s |"
                     % (row["title"], row["median"], row["low"], row["high"], bound_text(row), verdict))  # fmt: skip
    return lines
