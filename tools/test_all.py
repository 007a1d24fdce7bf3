# SPDX-License-Identifier: MIT
"""Runs the tests with every CPython and for every architecture that there can be, and prints one table.

    python tools/test_all.py [--only 3.11] [--only 3.13t] [--only sid] [--part arch] [--jobs 1] [-- PYTEST ARGUMENTS]

The rows, and what --only calls them besides their version or name:

    here            every CPython on this machine, and the debug build of Debian's (installed when root asks)
    free-threaded   CPython without a GIL, built from Debian's source (tools/free_threaded.py)
    sid             the newest CPythons, in a chroot of Debian's unstable release (tools/debian_sid.py)
    arch            the C tests on other architectures and another C library (tools/test_arch.py)
    debug           debug builds, here and in sid

What they lack is set up under the directory given (default build), and stays: the next run is quicker. The columns are
suites; each says passed/failed/skipped. A star marks a part of a suite, which is all that debug builds and some without
a GIL run, for time's sake: --complete runs the whole, and --part 3.9 only a part in that row, too. A row that cannot be
set up says why; it is a failure only with --all-required, or where CI is set in the environment. Exit status 1 when a
row failed or none could be tested.

Two rows run at a time where there are two processors, which keeps the machine busy, and some tests are about time. So
a few that fail are run again once all is done, with nothing beside them. If they pass then the table says so, and names
them; if not, the row has failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import debian_sid
import foreign_python
import free_threaded
import suites
import test_arch
from interpreters import Interpreter, chosen, discover, probe, unusable
from machine import ROOT, Failure, apt_install

MOST_AGAIN = 5  # failed tests of a row that are given another chance
HERE, BUILT, SID = "this machine", "built here", "Debian sid"
C_TESTS = "C tests"
COLUMNS = (*suites.COLUMNS, C_TESTS)


class Row(NamedTuple):
    label: str
    where: str
    names: List[str]  # for --only
    suites: Dict[str, List[str]]  # column: arguments for pytest
    set_up: Callable[[str], suites.Place]  # from the row's directory; raises Failure


class Outcome:
    """What a row gave; columns that were not run have no cell."""

    def __init__(self, label: str, where: str) -> None:
        self.label = label
        self.where = where
        self.result = "ok"  # ok, FAILED, not run
        self.cells: Dict[str, suites.Cell] = {}
        self.notes: List[str] = []
        self.seconds = 0.0
        self.place: Optional[suites.Place] = None

    def fail(self, note: str) -> None:
        self.result = "FAILED"
        self.notes.append(note)


# ---- rows ----


def rows_here(complete: bool) -> List[Row]:
    rows = []
    interpreters = discover()
    for interpreter in interpreters:
        same = [other for other in interpreters if other.tag == interpreter.tag]
        position = same.index(interpreter) + 1
        label = interpreter.tag if position == 1 else f"{interpreter.tag}-{position}"
        debug = interpreter.kind.endswith("d")
        free_threaded_build = "t" in interpreter.kind
        names = [label, interpreter.kind, "here", *(["debug"] if debug else [])]
        if free_threaded_build:
            names.append("free-threaded")
        with_all = not debug and not free_threaded_build
        rows.append(Row(label, HERE, names, part(debug and not complete), here(interpreter, with_all)))
    return rows


def here(interpreter: Interpreter, with_all: bool) -> Callable[[str], suites.Place]:
    def set_up(directory: str) -> suites.Place:
        reason = unusable(interpreter)
        if reason is not None and interpreter.path.startswith("/usr/bin/"):  # Debian has its headers and venv apart
            version = "{}.{}".format(*interpreter.order)
            apt_install([f"python{version}-dev", f"python{version}-venv"])
            reason = unusable(interpreter)
        if reason is not None:
            raise Failure(f"{interpreter.path}: {reason}")
        return suites.Place(interpreter.path, *within(directory), complete=with_all)

    return set_up


def rows_debug(complete: bool, present: List[Row]) -> List[Row]:
    """The debug build of Debian's own python3, which apt would install, unless it is here already."""
    own = probe("/usr/bin/python3")
    version = "{}.{}".format(*own["minor"]) if own and shutil.which("apt-get") else ""
    if not version or any(version + "d" in row.names for row in present):
        return []

    def set_up(directory: str) -> suites.Place:
        parts = ("python{}-dbg", "python{}-dev", "python{}-venv", "libpython{}-testsuite")
        apt_install([part.format(version) for part in parts])
        return suites.Place(f"/usr/bin/python{version}-dbg", *within(directory), complete=False)

    return [Row(f"{version}d", HERE, [f"{version}d", "here", "debug"], part(not complete), set_up)]


def rows_free_threaded(complete: bool, directory: str) -> List[Row]:
    def made(version: str) -> Callable[[str], suites.Place]:
        def set_up(of_row: str) -> suites.Place:
            kept = Path(directory) / "free-threaded" / version
            return suites.Place(free_threaded.make_interpreter(kept, version), *within(of_row), complete=False)

        return set_up

    return [
        Row(f"{version}t", BUILT, [f"{version}t", "free-threaded"],
            part(version != "3.13" and not complete), made(version))
        for version in free_threaded.SOURCES
    ]  # fmt: skip


def rows_sid(complete: bool, directory: str) -> List[Row]:
    chroot = debian_sid.Chroot(Path(directory) / "sid")

    def made(python: str) -> Callable[[str], suites.Place]:
        return lambda _: chroot.place(python)

    rows = []
    for python in debian_sid.PYTHONS:
        kind = python.replace("-dbg", "d")
        debug = kind != python
        names = [kind, "sid", *(["debug"] if debug else [])]
        rows.append(Row(kind, SID, names, part(debug and not complete), made(python)))
    return rows


def part(only_a_part: bool) -> Dict[str, List[str]]:
    return dict(suites.FAST if only_a_part else suites.ALL)


def part_of(whole: Dict[str, List[str]]) -> Dict[str, List[str]]:
    """Of each suite that is whole its part; what is a part already stays."""
    return {
        column: suites.FAST[column] if arguments == [column] else arguments
        for column, arguments in whole.items()
        if column in suites.FAST
    }


def within(directory: str) -> Tuple[str, str]:
    return os.path.join(directory, "venv"), os.path.join(directory, "package")


# ---- running ----


def run_row(row: Row, directory: str, required: bool) -> Outcome:
    outcome = Outcome(row.label, row.where)
    start = time.monotonic()
    os.makedirs(directory, exist_ok=True)
    try:
        place = row.set_up(directory)
    except Failure as failure:
        not_set_up(outcome, str(failure), required)
    else:
        run_suites(outcome, place, row.suites, directory)
    outcome.seconds = time.monotonic() - start
    return outcome


def not_set_up(outcome: Outcome, reason: str, required: bool) -> None:
    outcome.notes.append("cannot be set up: " + reason)
    outcome.result = "FAILED" if required else "not run"


def run_suites(outcome: Outcome, place: suites.Place, chosen_suites: Dict[str, List[str]], directory: str) -> None:
    outcome.place = place
    log = os.path.join(directory, "log.txt")
    failed = suites.install(place, log)
    if failed:
        outcome.fail(f"{failed} failed (see {log})")
        print(suites.failures(log), flush=True)
        return
    run_columns(outcome, place, chosen_suites, directory)


def run_columns(outcome: Outcome, place: suites.Place, chosen_suites: Dict[str, List[str]], directory: str) -> None:
    for column, arguments in chosen_suites.items():
        log = os.path.join(directory, column.replace("/", "-") + ".txt")
        cell = suites.run(place, arguments, log, part=column in COLUMNS and arguments != [column])
        outcome.cells[column] = cell
        if not cell.ok:
            outcome.result = "FAILED"
            if cell.broken:
                outcome.notes.append(f"{column}: {cell.broken}")
            print(f"{outcome.label}, {column}: FAILED (see {log})\n" + suites.failures(log), flush=True)


def run_arch(
    architecture: test_arch.Architecture, directory: str, required: bool, jobs: int, only_a_part: bool
) -> Outcome:
    outcome = Outcome(architecture.name, architecture.what)
    start = time.monotonic()
    result = test_arch.run_tests(architecture, directory, jobs)
    if result.result == "skipped":
        not_set_up(outcome, result.detail, required)
    else:
        if any(result.counts):
            outcome.cells[C_TESTS] = suites.Cell(*result.counts, False, result.seconds, result.log)
        if result.result == "FAILED":
            outcome.fail(result.detail)
            print(f"{outcome.label}: FAILED\n" + suites.failures(result.log, most=60), flush=True)
        if architecture.name in foreign_python.FOREIGN:
            run_foreign(outcome, architecture.name, directory, required, only_a_part)
    outcome.seconds = time.monotonic() - start
    return outcome


def run_foreign(outcome: Outcome, name: str, directory: str, required: bool, only_a_part: bool) -> None:
    """The extension and the package, with a CPython of that architecture."""
    try:
        place = foreign_python.make_place(name, Path(directory))
    except Failure as failure:
        outcome.notes.append("no CPython can be set up: " + str(failure))
        outcome.result = "FAILED" if required else outcome.result
        return
    outcome.place = place
    whole = foreign_python.FOREIGN[name].suites
    run_columns(outcome, place, part_of(whole) if only_a_part else whole, directory)


def run_again(outcome: Outcome) -> None:
    """The outcome becomes a better one if the few tests that failed pass alone."""
    bad = {column: cell for column, cell in outcome.cells.items() if not cell.ok}
    tests = {column: suites.failed_tests(cell.log) for column, cell in bad.items() if not cell.broken}
    place = outcome.place
    if not bad or len(tests) < len(bad) or not all(tests.values()) or place is None:
        return
    names = [name for of_column in tests.values() for name in of_column]
    if len(names) > MOST_AGAIN:
        outcome.notes.append(f"failed: {', '.join(names[:MOST_AGAIN])} and {len(names) - MOST_AGAIN} more")
        return
    log = next(iter(bad.values())).log[: -len(".txt")] + "-again.txt"
    again = suites.run(place, names, log)
    outcome.seconds += again.seconds
    if not again.ok:
        print(f"{outcome.label}: FAILED again\n" + suites.failures(log), flush=True)
        outcome.notes.append("failed, and again alone: " + ", ".join(suites.failed_tests(log)))
        return
    outcome.notes.append("alone they pass: " + ", ".join(names))
    outcome.result = "ok"


# ---- the table ----


def table(outcomes: List[Outcome]) -> str:
    columns = [column for column in COLUMNS if any(column in outcome.cells for outcome in outcomes)]
    columns += sorted({column for outcome in outcomes for column in outcome.cells} - set(COLUMNS))
    rows = [["row", "where", *columns, "seconds", "result"]]
    for outcome in outcomes:
        cells = [str(outcome.cells.get(column, "-")) for column in columns]
        rows.append([outcome.label, outcome.where, *cells, f"{outcome.seconds:.0f}", outcome.result])
    widths = [max(len(row[position]) for row in rows) for position in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines += ["", "passed/failed/skipped and the suite's seconds; the row's seconds are with its set-up"]
    if any(cell.part for outcome in outcomes for cell in outcome.cells.values()):
        lines.append("* a part of it, see docs/platforms.md")
    for outcome in outcomes:
        lines += [f"{outcome.label}: {note}" for note in outcome.notes]
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--directory", default=str(ROOT / "build"), help="where all that is set up is kept (default: build)")
    add("--only", action="append", metavar="NAME", help="these rows alone: 3.11, 3.13t, 3.14d, here, sid, arch, ...")
    add("--skip", action="append", metavar="NAME", default=[], help="not these rows")
    add("--part", action="append", metavar="NAME", default=[], help="a part of the suites in these rows")
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="rows at a time (default: %(default)s)")
    add("--complete", action="store_true", help="all tests also where a part of them is the rule")
    add("--all-required", action="store_true", default=bool(os.environ.get("CI")),
        help="what cannot be set up is a failure (the rule where CI is set)")  # fmt: skip
    add("pytest_args", nargs="*", metavar="ARGUMENT", help="after --: arguments for pytest instead of the suites")
    return parser.parse_args()


def main() -> int:
    options = parse()
    directory = os.path.abspath(options.directory)
    start = time.monotonic()

    def wanted(names: List[str]) -> bool:
        return chosen(names, options.only) and not (options.skip and chosen(names, options.skip))

    def only_a_part(names: List[str]) -> bool:
        return bool(options.part) and chosen(names, options.part)

    found = rows_here(options.complete)
    rows = found + rows_debug(options.complete, found) + rows_free_threaded(options.complete, directory)
    rows = [row for row in rows + rows_sid(options.complete, directory) if wanted(row.names)]
    rows = [row._replace(suites=part_of(row.suites)) if only_a_part(row.names) else row for row in rows]
    if options.pytest_args:
        rows = [row._replace(suites={"chosen": options.pytest_args}) for row in rows]
    architectures = [one for one in test_arch.ARCHITECTURES if wanted([one.name, "arch"]) and not options.pytest_args]
    work: List[Callable[[], Outcome]] = []
    for row in rows:
        of_row = os.path.join(directory, "all", ("sid-" if row.where == SID else "") + row.label)
        work.append(partial(run_row, row, of_row, options.all_required))
    for architecture in architectures:
        of_row = os.path.join(directory, "arch", architecture.name)
        jobs = max(1, (os.cpu_count() or 1) // options.jobs)
        small = only_a_part([architecture.name, "arch"])
        work.append(partial(run_arch, architecture, of_row, options.all_required, jobs, small))
    if not work:
        print("test-all: nothing is called {}".format(" or ".join(options.only or [])))
        return 1

    def one(job: Callable[[], Outcome]) -> Outcome:
        outcome = job()
        print(f"{outcome.label}: {outcome.result}, {outcome.seconds:.0f} s", flush=True)
        return outcome

    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {number: pool.submit(one, work[number]) for number in in_order(rows, len(work))}
        outcomes = [futures[number].result() for number in range(len(work))]
    for outcome in outcomes:
        if outcome.result == "FAILED":
            run_again(outcome)
    print("\n" + table(outcomes))
    return conclude(outcomes, time.monotonic() - start)


def in_order(rows: List[Row], count: int) -> List[int]:
    """What takes long to set up goes first, one without a GIL beside one of sid: one builds, the other downloads. Then
    the architectures, which are numbered after the rows. The last, which has nothing beside it, should be a short one.
    """

    def at(place: str) -> List[int]:
        return [number for number, row in enumerate(rows) if row.where == place]

    first = [number for pair in zip_longest(at(BUILT), at(SID)) for number in pair if number is not None]
    return first + list(range(len(rows), count)) + at(HERE)


def conclude(outcomes: List[Outcome], seconds: float) -> int:
    failed = [outcome.label for outcome in outcomes if outcome.result == "FAILED"]
    tested = [outcome for outcome in outcomes if outcome.result == "ok"]
    times = os.times()
    spent = f"{seconds:.0f} s ({times.children_user + times.children_system:.0f} s of processors)"
    if failed:
        print(f"test-all: failed after {spent}: " + ", ".join(failed))
        return 1
    if not tested:
        print("test-all: nothing could be tested")
        return 1
    print(f"test-all: passed, {len(tested)} of {len(outcomes)} rows, in {spent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
