# SPDX-License-Identifier: MIT
"""Installs the project into a virtual environment and runs the suites of Python tests there, each counted.

A place is where an interpreter is: this machine, or a chroot. Beside the environment, everything that the commands
print goes to logs in a directory of the row's: log.txt of the installation, and one of each suite.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import IO, Dict, List, NamedTuple, Optional

from machine import ROOT

# Not the statistics: those are of the core, which is the same for all.
COLUMNS = ("tests/py", "tests/cpython", "tests/integration")
# What follows the interpreter's build most closely: where the GIL is missing, or the allocators check each block.
PART = [
    "tests/py/hazards",
    *(f"tests/py/test_{name}.py" for name in ("api", "code_objects", "frames", "free_threading")),
    *(f"tests/py/test_{name}.py" for name in ("recording", "recording_processes", "selftest")),
    *(f"tests/py/test_{name}.py" for name in ("snapshot", "snapshot_pickle")),
]
FAST = {"tests/py": PART, "tests/cpython": ["tests/cpython"]}
ALL = {name: [name] for name in COLUMNS}


class Place:
    """This machine: commands run in the project's directory, the virtual environment first on PATH."""

    def __init__(self, interpreter: str, venv: str, package: str, complete: bool = True) -> None:
        self.interpreter = interpreter
        self.venv = venv
        self.package = package  # where meson builds
        self.complete = complete  # every module that the tests use can be installed

    def call(self, command: List[str], output: IO[str]) -> int:
        return subprocess.call(
            command, cwd=str(ROOT), env=self.environment(), stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def environment(self) -> Dict[str, str]:
        """Of this process, without what would change the interpreter: PYTHON_GIL=1 above all."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment["PATH"] = os.path.join(self.venv, "bin") + os.pathsep + environment.get("PATH", os.defpath)
        environment["PYTHONNOUSERSITE"] = "1"
        if not self.complete:
            environment.pop("CI", None)  # where it is set, a test fails for want of a module
        return environment


class Cell(NamedTuple):
    """What one suite gave."""

    passed: int
    failed: int
    skipped: int
    part: bool
    seconds: float
    log: str
    broken: str = ""  # the last line, where it ended without counts or not as they say

    def __str__(self) -> str:
        if self.broken:
            return "broken"
        counts = f"{self.passed}/{self.failed}/{self.skipped}"
        return f"{counts}{'*' if self.part else ''} {self.seconds:.0f} s"

    @property
    def ok(self) -> bool:
        return self.failed == 0 and not self.broken


def install(place: Place, log: str) -> Optional[str]:
    """As a user would: by pip, from the tree; with what the tests need besides. None, or what failed."""
    python = os.path.join(place.venv, "bin", "python")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    tools, tests = (os.path.join("tools", name) for name in ("requirements.txt", "requirements-test.txt"))
    with open(log, "w", encoding="utf-8") as output:

        def step(*command: str) -> bool:
            output.write("$ " + " ".join(command) + "\n")
            output.flush()
            return place.call(list(command), output) == 0

        if not place.exists(python) and not step(place.interpreter, "-m", "venv", "--clear", place.venv):
            return "venv"
        if not (step(*pip, "-U", "pip") and step(*pip, "-r", tools)):
            return "pip install of what building needs"
        if place.complete:
            if not step(*pip, "-r", tests):
                return "pip install of what the tests need"
        else:
            # Many packages have no wheel for such an interpreter, and some refuse to be built for it.
            every = requirements(os.path.join(str(ROOT), tests))
            if not step(*pip, *(one for one in every if one.startswith("pytest"))):
                return "pip install pytest"
            if not step(*pip, "--only-binary", ":all:", *every):
                for one in every:
                    step(*pip, "--only-binary", ":all:", one)
        project = ("--no-build-isolation", "--no-deps", "--force-reinstall", "-Cbuild-dir=" + place.package, ".")
        if not step(*pip, *project):
            return "pip install of the project"
    return None


def requirements(path: str) -> List[str]:
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line and not line.startswith("#")]


def run(place: Place, arguments: List[str], log: str, part: bool = False) -> Cell:
    # Not python -m pytest: that puts the project's directory, where the package has no extension module, first.
    command = [os.path.join(place.venv, "bin", "pytest"), "-p", "no:cacheprovider", *arguments]
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as output:
        output.write("$ " + " ".join(command) + "\n")
        output.flush()
        status = place.call(command, output)
    last = closing_line(log)
    counted = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (\w+)", last)}
    failed = counted.get("failed", 0) + counted.get("error", 0)
    agrees = status in (0, 1) and (status != 0) == (failed != 0)
    return Cell(counted.get("passed", 0), failed, counted.get("skipped", 0), part, time.monotonic() - start, log,
                "" if agrees else f"status {status}: {last}")  # fmt: skip


def failed_tests(log: str) -> List[str]:
    """The tests that failed by pytest's own list of them; none if something else than tests failed."""
    with open(log, encoding="utf-8", errors="replace") as file:
        found = [re.match(r"(FAILED|ERROR) (.+?)(?: - .*)?$", line.rstrip("\n")) for line in file]
    tests = [match.group(2) for match in found if match]
    return tests if all("::" in test for test in tests) else []


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
