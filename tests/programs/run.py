# SPDX-License-Identifier: MIT
"""Runs test suites of other projects without the profiler and with it, and compares them test by test.

    python tests/programs/run.py                               CPython's files named in suites.py, and the projects
    python tests/programs/run.py cpython --only test_gc        one file of CPython's own suite
    python tests/programs/run.py cpython --all                 CPython's whole suite (hours)
    python tests/programs/run.py cpython --all --except test_gc test_asyncio --seconds 120
    python tests/programs/run.py tornado numpy --python ~/.pyenv/versions/3.13.0/bin/python

The interpreter gets a virtual environment of its own under --directory, with mprofile, the suites' projects, and a
start-up file there that imports mprofile. Each unit (a process: a file of CPython's suite, or a call of pytest) runs
once without and once each way: with MPROFILERATE=1, which records every block, with MPROFILERATE=4096, and recorded to
a file by MPROFILE_RECORD, which is the shipped start-up file and has the writing thread beside the program.

A test whose result is another than without is run again thrice both ways. It counts as different if its results with
the profiler are all alike, and those without too; otherwise it is called unsteady. What must differ, and why, is in
suites.py. Exit status 1 if a test differs that is not explained there. Results so far are kept: --resume goes on.
A unit that has not ended without the profiler after --seconds is not run with it, and named at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

import suites

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AGAIN = 3

WITHOUT = "without"
#: What is put into the environment, by the name that the table has for it.
WAYS: Dict[str, Dict[str, str]] = {
    WITHOUT: {},
    "rate 1": {"MPROFILERATE": "1"},
    "rate 4096": {"MPROFILERATE": "4096"},
    "recorded": {"MPROFILE_RECORD": "heap.pb.gz", "MPROFILE_RECORD_RATE": "4096", "MPROFILE_RECORD_EVERY": "0.1"},
}

#: The tests that stand for the process itself, how it ended, and for what unittest counted.
PROCESS = "(the process)"
SUM = "(the sum)"

Results = Dict[str, str]


class Difference(NamedTuple):
    test: str
    without: str
    with_profiler: str
    verdict: str  # "differs", "unsteady", or the reason why it is expected


class Compared(NamedTuple):
    tests: int
    differences: List[Difference]


# ---- set-up ----


def output(*words: str) -> str:
    return subprocess.check_output(words, universal_newlines=True).strip()


def clean_environment() -> Dict[str, str]:
    names = ("PYTHON", "MPROFILE", "LD_PRELOAD", "VIRTUAL_ENV", "CI")
    return {key: value for key, value in os.environ.items() if not key.startswith(names)}


class Place:
    """An interpreter's virtual environment, and the directory for what is run in it."""

    def __init__(self, interpreter: str, directory: str) -> None:
        self.version = output(interpreter, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])")
        self.directory = os.path.join(os.path.abspath(directory), self.version)
        self.python = os.path.join(self.directory, "venv", "bin", "python")
        os.makedirs(self.directory, exist_ok=True)
        if not os.path.exists(self.python):
            subprocess.check_call([interpreter, "-m", "venv", os.path.join(self.directory, "venv")])

    def pip(self, *words: str) -> None:
        command = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *words]
        binaries = os.path.dirname(self.python)
        path = binaries + os.pathsep + os.environ.get("PATH", os.defpath)
        subprocess.check_call(command, cwd=ROOT, env=dict(clean_environment(), PATH=path))

    def install(self, requirements: Iterable[str]) -> None:
        """Install mprofile as it is now, and the projects."""
        self.pip("-U", "pip")
        self.pip("-r", os.path.join("tools", "requirements.txt"), "pytest>=7,<10", *requirements)
        build = os.path.join(self.directory, "package")
        self.pip("--no-build-isolation", "--no-deps", "--force-reinstall", "-Cbuild-dir=" + build, ".")
        site = output(self.python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))")
        # The variable takes effect when mprofile is imported, which other people's programs do not do.
        with open(os.path.join(site, "other-programs.pth"), "w", encoding="ascii") as file:
            file.write('import os; os.environ.get("MPROFILERATE") and __import__("mprofile")\n')
        for way, started in ((WITHOUT, "False"), ("rate 1", "True"), ("rate 4096", "True"), ("recorded", "True")):
            environment = dict(clean_environment(), **WAYS[way])
            told = subprocess.run(
                [self.python, "-c", "import sys; m = sys.modules.get('mprofile'); print(bool(m and m.is_tracing()))"],
                env=environment,
                cwd=self.directory,
                stdout=subprocess.PIPE,
                universal_newlines=True,
                check=True,
            ).stdout.strip()
            if told != started:
                raise SystemExit("{}: whether the profiler runs is {}, not {}".format(way, told, started))

    def installed(self, project: str) -> str:
        code = (
            "import sys\n"
            "try: import importlib.metadata as m\n"
            "except ImportError: import importlib_metadata as m\n"
            "print(m.version(sys.argv[1]))"
        )
        return output(self.python, "-I", "-c", code, project)

    def source(self, project: str) -> str:
        """The directory with what the project released, of the version that is installed: its tests are there."""
        release = "{}=={}".format(project, self.installed(project))
        path = os.path.join(self.directory, "sources", release)
        if not os.path.isdir(path):
            place = tempfile.mkdtemp(prefix="s", dir=self.directory)
            try:
                words = ["-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
                words += ["--no-binary", project, "-d", place, release]
                subprocess.check_call([self.python, *words], cwd=place, env=clean_environment())
                shutil.unpack_archive(os.path.join(place, os.listdir(place)[0]), os.path.join(place, "in"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.rename(os.path.join(place, "in", os.listdir(os.path.join(place, "in"))[0]), path)
            finally:
                shutil.rmtree(place)
        return path

    def cpython_files(self, everything: bool) -> List[str]:
        code = (
            "import sys, importlib.util as u\n"
            "print(*[n for n in sys.argv[1:] if u.find_spec('test.' + n)])\n"
        )  # fmt: skip
        if everything:
            return output(self.python, "-m", "test", "--list-tests").split()
        return output(self.python, "-c", code, *dict.fromkeys(suites.CPYTHON.split())).split()


# ---- one run ----


def junit(path: str) -> Results:
    """Result of each test in a file in JUnit's format."""
    results: Results = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name", "")
        if not name:
            continue  # regrtest, for a failed subtest; its test is absent then
        if case.get("classname"):
            name = "{}::{}".format(case.get("classname"), name)
        result = case.get("result", "passed")
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                result = child.tag
        worst = {"failure": 3, "error": 3, "skipped": 1}
        # Subtests and teardowns come under the name of their test.
        if worst.get(result, 0) >= worst.get(results.get(name, "passed"), 0):
            results[name] = "passed" if result == "completed" else result
    return results


def verbose(path: str) -> Results:
    """Result of each test from what unittest writes with --verbose, between what the tests write themselves."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    found = re.findall(
        r"^(test\w*) \(([\w.]+)\)(?:\n[^\n]*?)?[^\n]*? \.\.\. (?:.*?\n)??(ok|FAIL|ERROR|skipped)\b", text, re.M
    )
    results = {"{}.{}".format(owner, name): result for name, owner, result in found}
    results.update(re.findall(r"^(Doctest: [\w.]+) \.\.\. (ok|FAIL|ERROR)\b", text, re.M))
    results[SUM] = ", ".join(re.findall(r"^(?:Ran \d+ tests|OK|FAILED)(?: \(.*\))?", text, re.M)) or "absent"
    return results


def command(python: str, unit: suites.Unit, report: str, only: Optional[List[str]]) -> List[str]:
    if unit.kind == "regrtest":
        words = [python, "-m", "test", "--junit-xml", report, "--timeout", "600", *unit.words]
        for test in only or ():
            # junit has "test.test_gc.GCTests.test_x", or a docstring, or a docstring's first line in brackets
            words += ["-m", re.split(r"[\s:]+", test)[0]]
        return words
    if unit.kind in ("unittest", "doctest"):
        words = [python, *unit.words]
        for test in only or ():
            words += ["-k", test.rpartition(".")[2]]
        return words
    words = [python, *unit.flags, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=" + report]
    words += unit.words
    if only:
        words += ["-k", " or ".join(sorted({re.split(r"[\[:]", test.rpartition("::")[2])[0] for test in only}))]
    return words


def begin() -> None:
    """In the new process: a session of its own, behind others; no signal is ignored that a shell ignored."""
    os.setsid()
    os.nice(10)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def run(place: Place, unit: suites.Unit, way: str, only: Optional[List[str]] = None) -> Results:
    """Result of each test of the unit, or only of these, in a directory of its own."""
    work = tempfile.mkdtemp(prefix="w", dir=place.directory)
    try:
        return run_in(work, place, unit, way, only)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run_in(work: str, place: Place, unit: suites.Unit, way: str, only: Optional[List[str]]) -> Results:
    report = os.path.join(work, "report.xml")
    environment = dict(clean_environment(), TMPDIR=work, HOME=work, PYTHONHASHSEED="1", PYTHONFAULTHANDLER="1")
    environment["PATH"] = os.path.dirname(place.python) + os.pathsep + os.environ.get("PATH", os.defpath)
    environment.update(WAYS[way])
    if "MPROFILE_RECORD" in environment:
        environment["MPROFILE_RECORD"] = os.path.join(work, environment["MPROFILE_RECORD"])
    within = work
    if unit.source:  # a copy, since tests write beside themselves
        within = os.path.join(work, "source")
        origin = os.path.join(place.source(unit.source), unit.part)
        shutil.copytree(origin, within, symlinks=True, ignore=shutil.ignore_patterns(unit.left_out))
    log = os.path.join(place.directory, "logs", "{}.{}.txt".format(unit.name.replace("/", "-"), way.replace(" ", "-")))
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command(place.python, unit, report, only),
            cwd=within,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=begin,
        )
        try:
            ended = str(process.wait(unit.timeout))
        except subprocess.TimeoutExpired:
            ended = "no end after {:g} s".format(unit.timeout)
        try:  # the rest of its session, if there is any
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    if unit.kind in ("unittest", "doctest"):
        results = verbose(log)
    else:
        results = junit(report) if os.path.exists(report) and os.path.getsize(report) else {}
    if only is None:
        results[PROCESS] = "ended with " + ended if not ended.startswith("no") else ended
    elif process.returncode < 0 or ended.startswith("no"):
        results[PROCESS] = ended
    return results


# ---- comparing ----


def differing(without: Results, with_profiler: Results) -> List[str]:
    names = sorted(set(without) | set(with_profiler))
    return [name for name in names if without.get(name, "absent") != with_profiler.get(name, "absent")]


def compare(place: Place, unit: suites.Unit, way: str, without: Results, with_profiler: Results) -> Compared:
    names = differing(without, with_profiler)
    if not names:
        return Compared(len(with_profiler) - 1, [])
    real = [name for name in names if name not in (PROCESS, SUM)]
    # Where the process broke off, the tests that were not reached say nothing: then all of it runs again.
    only = real if real and len(real) <= 20 and unit.kind != "doctest" else None
    seen: Dict[str, Tuple[List[str], List[str]]] = {name: ([], []) for name in names}
    for _ in range(AGAIN):
        for side, this_way in enumerate((WITHOUT, way)):
            again = run(place, unit, this_way, only)
            for name in names:
                if only is None or name in real:
                    seen[name][side].append(again.get(name, "absent"))
    differences = []
    for name in names:
        before, after = without.get(name, "absent"), with_profiler.get(name, "absent")
        sides = seen[name]
        reason = suites.explanation(unit.name, name)
        if reason is not None:
            verdict = reason
        elif name not in real and only is not None:
            continue  # its tests tell
        elif set(sides[0]) == {before} and set(sides[1]) == {after}:
            verdict = "differs"
        else:
            verdict = "unsteady: without {}, with {}".format(", ".join(sides[0]), ", ".join(sides[1]))
        differences.append(Difference(name, before, after, verdict))
    return Compared(len(with_profiler) - 1, differences)


# ---- the table ----


def summary(compared: Compared) -> str:
    counts = {"differs": 0, "unsteady": 0, "explained": 0}
    for difference in compared.differences:
        kind = difference.verdict.partition(":")[0]
        counts[kind if kind in counts else "explained"] += 1
    told = ["{} {}".format(count, kind) for kind, count in counts.items() if count]
    return ", ".join(told) or ("same" if compared.tests else "no tests")


def print_table(found: Dict[str, Dict[str, Compared]], ways: List[str]) -> None:
    width = max([len(name) for name in found] + [4])
    print("\n{:{}}  {:>6}  {}".format("unit", width, "tests", "  ".join("{:24}".format(way) for way in ways)))
    for name, row in found.items():
        tests = max(compared.tests for compared in row.values())
        cells = "  ".join("{:24}".format(summary(row[way])) for way in ways if way in row)
        print("{:{}}  {:6}  {}".format(name, width, tests, cells))
    print()
    for name, row in found.items():
        for way, compared in row.items():
            for difference in compared.differences:
                print("{} {}: {}".format(name, way, difference.test))
                print("    {} -> {}: {}".format(difference.without, difference.with_profiler, difference.verdict))


def is_left_out(unit: str, names: Iterable[str]) -> bool:
    """Whether one of the names is the unit's, or that of its package: "test_asyncio" of "test.test_asyncio.test_x"."""
    return any(unit == name or ("." + unit).startswith(".test.{}.".format(name)) for name in names)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(suites.PROJECT_NAMES))
    parser.add_argument("--python", default=sys.executable, help="the interpreter (default: this one)")
    parser.add_argument("--directory", default=os.path.join("build", "programs"))
    parser.add_argument("--only", nargs="+", metavar="UNIT", help="these units of the suites")
    parser.add_argument(
        "--except",
        nargs="+",
        default=[],
        metavar="UNIT",
        dest="left_out",
        help="not these, nor what is in such packages",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="a unit must end in N without, in 5 N with the profiler"
    )
    parser.add_argument("--ways", nargs="+", default=["rate 1", "rate 4096", "recorded"], choices=list(WAYS)[1:])
    parser.add_argument("--all", action="store_true", help="all of CPython's files, and the suites' longer units")
    parser.add_argument("--installed", action="store_true", help="with what an earlier run installed there")
    parser.add_argument("--resume", action="store_true", help="leave out the units that an earlier run has finished")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no unit after this time")
    options = parser.parse_args()
    for name in options.suites:
        if name not in suites.PROJECT_NAMES:
            parser.error("no suite {!r}; there are {}".format(name, ", ".join(suites.PROJECT_NAMES)))

    start = time.monotonic()
    place = Place(options.python, options.directory)
    names = options.suites or list(suites.PROJECT_NAMES)
    files = place.cpython_files(options.all) if "cpython" in names else []
    chosen = suites.suites(names, files, options.all)
    if not options.installed:
        place.install([requirement for suite in chosen.values() for requirement in suite.requirements])
    versions = ["mprofile " + place.installed("mprofile")]
    versions += ["{} {}".format(name, place.installed(name)) for name in chosen if name != "cpython"]
    print("CPython {}, {}, {}".format(place.version, ", ".join(versions), time.strftime("%Y-%m-%d")), flush=True)

    state_path = os.path.join(place.directory, "results.json")
    found: Dict[str, Dict[str, Compared]] = {}
    if options.resume and os.path.exists(state_path):
        with open(state_path, encoding="utf-8") as file:
            for name, row in json.load(file).items():
                found[name] = {
                    way: Compared(tests, [Difference(*difference) for difference in differences])
                    for way, (tests, differences) in row.items()
                }
    unfinished: List[str] = []
    for suite in chosen.values():
        for unit in suite.units:
            if (options.only and unit.name not in options.only) or is_left_out(unit.name, options.left_out):
                continue
            if unit.name in found or (options.minutes and time.monotonic() - start > options.minutes * 60):
                continue
            began = time.monotonic()
            if options.seconds:
                unit = unit._replace(timeout=options.seconds)
            without = run(place, unit, WITHOUT)
            if options.seconds:
                if without[PROCESS].startswith("no end"):
                    print("{:5.0f} s  {}  {}".format(time.monotonic() - began, unit.name, without[PROCESS]), flush=True)
                    unfinished.append(unit.name)
                    continue
                unit = unit._replace(timeout=5 * options.seconds)
            row = {}
            for way in options.ways:
                row[way] = compare(place, unit, way, without, run(place, unit, way))
            found[unit.name] = row
            told = "; ".join("{}: {}".format(way, summary(compared)) for way, compared in row.items())
            print(
                "{:5.0f} s  {}  {} tests, {}  {}".format(
                    time.monotonic() - began, unit.name, len(without) - 1, without[PROCESS], told
                ),
                flush=True,
            )
            with open(state_path, "w", encoding="utf-8") as file:
                json.dump(found, file, indent=1)
    if not found:
        print("nothing was run")
        return 1
    print_table(found, options.ways)
    if unfinished:
        print("no end after {:g} s without the profiler: {}".format(options.seconds, " ".join(unfinished)))
    verdicts = [d.verdict for row in found.values() for compared in row.values() for d in compared.differences]
    return 1 if "differs" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
