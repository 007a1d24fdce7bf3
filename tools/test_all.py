# SPDX-License-Identifier: MIT
"""Runs the Python tests with every CPython on this machine and prints a table: interpreter, result, time.

Looks at pyenv's versions and at python3.7 ... python3.15 on PATH, free-threaded and debug builds (python3.13t,
python3.13d, Debian's python3.13-dbg) among them. Each interpreter gets a virtual environment, a build and a log of its
own under the directory given (default build/all); they stay, so the next run is quicker. An interpreter that cannot
build extensions (no Python.h, no venv) is shown as skipped with the reason. Exit status 1 when one fails or none could
be tested. Two run at a time where there are two processors: --jobs 1 for one after the other.

Two at a time keep the machine busy, and some tests are about time. So a few that fail are run again once all is done,
with nothing beside them. If they pass then the table says so, and names them; if not, the interpreter has failed.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, NamedTuple, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUPPORTED = range(7, 16)
MOST_AGAIN = 5  # failed tests that are given another chance
# Not the statistics: those are of the core, which is the same for all.
DIRECTORIES = ["tests/py", "tests/cpython", "tests/integration"]
PROBE = """
import json, os, sys, sysconfig
print(json.dumps({
    "path": os.path.realpath(sys.executable),
    "name": sys.implementation.name,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "minor": list(sys.version_info[:2]),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "debug": bool(sysconfig.get_config_var("Py_DEBUG")),
}))
"""


class Interpreter(NamedTuple):
    path: str
    tag: str  # 3.11.7, 3.14.0t
    order: Tuple[int, ...]


class Outcome(NamedTuple):
    interpreter: Interpreter
    result: str  # ok, FAILED, skipped
    detail: str
    seconds: float
    log: str = ""


def candidates() -> List[str]:
    found = []
    if shutil.which("pyenv"):
        root = subprocess.check_output(["pyenv", "root"], universal_newlines=True).strip()
        found += sorted(glob.glob(os.path.join(root, "versions", "*", "bin", "python")))
    for minor in SUPPORTED:
        for suffix in ("", "t", "d", "td", "-dbg"):
            for directory in os.get_exec_path():
                path = os.path.join(directory, f"python3.{minor}{suffix}")
                if os.access(path, os.X_OK) and os.path.basename(os.path.dirname(path)) != "shims":
                    found.append(path)
    found.append(sys.executable)
    return found


def discover() -> List[Interpreter]:
    """One entry a real executable, oldest first."""
    interpreters: Dict[str, Interpreter] = {}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for path in candidates():
        run = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        if run.returncode != 0:
            continue
        facts = json.loads(run.stdout)
        if facts["name"] != "cpython" or facts["minor"][0] != 3 or facts["minor"][1] not in SUPPORTED:
            continue
        tag = facts["version"] + ("t" if facts["free_threaded"] else "") + ("d" if facts["debug"] else "")
        order = tuple(int(part) for part in facts["version"].split("."))
        interpreters.setdefault(facts["path"], Interpreter(facts["path"], tag, order))
    return sorted(interpreters.values(), key=lambda interpreter: (interpreter.order, interpreter.tag, interpreter.path))


def directory_name(interpreter: Interpreter, all_of_them: List[Interpreter]) -> str:
    same = [other for other in all_of_them if other.tag == interpreter.tag]
    position = same.index(interpreter)
    return interpreter.tag if position == 0 else f"{interpreter.tag}-{position + 1}"


def unusable(interpreter: Interpreter) -> Optional[str]:
    check = os.path.join(ROOT, "tools", "check_python.py")
    run = subprocess.run([interpreter.path, check], stderr=subprocess.PIPE, universal_newlines=True)
    if run.returncode == 0:
        return None
    return run.stderr.splitlines()[0].partition("mprofile: ")[2].replace(interpreter.path + " ", "", 1)


def environment_of(directory: str) -> Dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PATH"] = os.path.join(directory, "venv", "bin") + os.pathsep + environment["PATH"]
    environment["PYTHONNOUSERSITE"] = "1"
    return environment


def run_tests(interpreter: Interpreter, directory: str, pytest_args: List[str]) -> Outcome:
    start = time.monotonic()
    reason = unusable(interpreter)
    if reason is not None:
        return Outcome(interpreter, "skipped", reason, time.monotonic() - start)
    os.makedirs(directory, exist_ok=True)
    venv = os.path.join(directory, "venv")
    binaries = os.path.join(venv, "bin")
    environment = environment_of(directory)
    python = os.path.join(binaries, "python")
    pip = [python, "-m", "pip", "install", "-q"]
    steps = [
        [interpreter.path, "-m", "venv", venv],
        [*pip, "-U", "pip"],
        [*pip, "-r", os.path.join("tools", "requirements.txt"), "-r", os.path.join("tools", "requirements-test.txt")],
        [*pip, "--no-build-isolation", "--no-deps", "--force-reinstall",
         "-Cbuild-dir=" + os.path.join(directory, "package"), "."],
        [os.path.join(binaries, "pytest"), "-p", "no:cacheprovider", *(pytest_args or DIRECTORIES)],
    ]  # fmt: skip
    if os.path.exists(python):
        del steps[0]
    log = os.path.join(directory, "log.txt")
    with open(log, "w", encoding="utf-8") as output:
        for step in steps:
            output.write("$ " + " ".join(step) + "\n")
            output.flush()
            status = subprocess.call(
                step, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
            if status != 0:
                seconds = time.monotonic() - start
                return Outcome(interpreter, "FAILED", closing_line(log) + f" (see {log})", seconds, log)
    return Outcome(interpreter, "ok", closing_line(log), time.monotonic() - start)


def failed_tests(log: str) -> List[str]:
    """The tests that failed by pytest's own list of them; none if something else than tests failed."""
    with open(log, encoding="utf-8", errors="replace") as file:
        found = [re.match(r"(FAILED|ERROR) (.+?)(?: - .*)?$", line.rstrip("\n")) for line in file]
    tests = [match.group(2) for match in found if match]
    return tests if all("::" in test for test in tests) else []


def run_again(outcome: Outcome) -> Outcome:
    """The same, or a better one if the tests that failed pass alone."""
    tests = failed_tests(outcome.log) if outcome.result == "FAILED" else []
    if not 0 < len(tests) <= MOST_AGAIN:
        return outcome
    directory = os.path.dirname(outcome.log)
    start = time.monotonic()
    log = os.path.join(directory, "again.txt")
    command = [os.path.join(directory, "venv", "bin", "pytest"), "-p", "no:cacheprovider", *tests]
    with open(log, "w", encoding="utf-8") as output:
        status = subprocess.call(command, cwd=ROOT, env=environment_of(directory), stdout=output,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)  # fmt: skip
    seconds = outcome.seconds + time.monotonic() - start
    if status != 0:
        print(f"{outcome.interpreter.tag}: FAILED again\n" + failures(log), flush=True)
        return outcome._replace(seconds=seconds)
    detail = closing_line(outcome.log) + "; alone they pass: " + ", ".join(tests)
    return outcome._replace(result="ok", detail=detail, seconds=seconds)


def closing_line(log: str) -> str:
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return re.sub(r"^=+ | =+$", "", lines[-1]) if lines else "no output"


def failures(log: str, most: int = 250) -> str:
    """What pytest says of the tests that failed, the last `most` lines of it: who reads CI has no other file."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    begins = [number for number, line in enumerate(lines) if re.match(r"=+ (FAILURES|ERRORS) =+$", line)]
    return "\n".join("    | " + line for line in lines[begins[0] if begins else 0 :][-most:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default=os.path.join("build", "all"))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("pytest_args", nargs="*", help="after --: arguments for pytest (default: all tests)")
    arguments = parser.parse_args()
    directory = os.path.abspath(arguments.directory)
    interpreters = discover()

    def one(interpreter: Interpreter) -> Outcome:
        outcome = run_tests(
            interpreter, os.path.join(directory, directory_name(interpreter, interpreters)), arguments.pytest_args
        )
        print(f"{interpreter.tag}: {outcome.result}", flush=True)
        if outcome.result == "FAILED":
            print(failures(outcome.log), flush=True)
        return outcome

    with ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(pool.map(one, interpreters))
    outcomes = [run_again(outcome) for outcome in outcomes]

    print()
    print(f"{'interpreter':12} {'result':8} {'seconds':>7}  tests")
    for outcome in outcomes:
        print(f"{outcome.interpreter.tag:12} {outcome.result:8} {outcome.seconds:7.0f}  {outcome.detail}")
        if outcome.result == "skipped":
            print(f"{'':29}  ({outcome.interpreter.path})")
    failed = [outcome for outcome in outcomes if outcome.result == "FAILED"]
    tested = [outcome for outcome in outcomes if outcome.result == "ok"]
    if failed:
        print("test-all: failed with " + ", ".join(outcome.interpreter.tag for outcome in failed))
        return 1
    if not tested:
        print("test-all: no interpreter could be tested")
        return 1
    print(f"test-all: passed with {len(tested)} interpreters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
