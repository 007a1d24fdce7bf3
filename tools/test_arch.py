# SPDX-License-Identifier: MIT
"""Runs the C tests for other architectures and another C library, and prints a table: architecture, result, time.

    python tools/test_arch.py [--directory build/arch] [NAME ...]

Builds with Debian's cross compilers, in a directory each. What has another processor than this machine runs under
QEMU's user emulation. Packages that are missing are installed when root asks; else the architecture is shown as
skipped, with the command that would install them. Exit status 1 when a test fails or nothing could be tested.
`make test-all` has these as rows of its table.

Debian's gcc-multilib (-m32) cannot be installed beside cross compilers; i686's cross compiler gives the same code.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from typing import List, NamedTuple, Optional, Tuple

from machine import Failure, apt_install

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EMULATED = "MPROF_TESTS_EMULATED"  # read by tests/c/sanitizer.h
EMULATION_IS_SLOWER = 5


class Architecture(NamedTuple):
    name: str
    what: str
    packages: Tuple[str, ...]
    compiler: str
    tools: str  # what the names of ar and strip begin with
    family: str
    endian: str
    wrapper: Tuple[str, ...] = ()
    flags: Tuple[str, ...] = ()


def cross(name: str, what: str, triple: str, debian: str, family: str, endian: str = "little",
          emulator: Optional[str] = None, flags: Tuple[str, ...] = ()) -> Architecture:  # fmt: skip
    """One with a cross compiler of Debian's; without an emulator this machine's processor runs it."""
    root = "/usr/" + triple
    packages: Tuple[str, ...] = ("gcc-" + triple, f"libc6-dev-{debian}-cross")
    if emulator is None:
        wrapper: Tuple[str, ...] = (root + "/lib/ld-linux.so.2", "--library-path", root + "/lib")
    else:
        packages += ("qemu-user",)
        wrapper = (emulator, "-E", EMULATED + "=1", "-L", root)
    return Architecture(name, what, packages, triple + "-gcc", triple + "-", family, endian, wrapper, flags)


ARCHITECTURES = [
    cross("i686", "32 bits, glibc", "i686-linux-gnu", "i386", "x86"),
    # musl-tools has no headers of the kernel's.
    Architecture("musl", "x86_64, musl", ("musl-tools", "linux-libc-dev"), "musl-gcc", "", "x86_64", "little",
                 flags=("-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu")),
    # gcc 12.2's vectoriser for aarch64 ends with an internal error on tests/c/test_rng.c.
    cross("aarch64", "64 bits, glibc, emulated", "aarch64-linux-gnu", "arm64", "aarch64", emulator="qemu-aarch64",
          flags=("-fno-tree-vectorize",)),
    cross("armhf", "32 bits, glibc, emulated", "arm-linux-gnueabihf", "armhf", "arm", emulator="qemu-arm"),
    cross("s390x", "64 bits, big-endian, glibc, emulated", "s390x-linux-gnu", "s390x", "s390x", "big", "qemu-s390x"),
]  # fmt: skip


class Outcome(NamedTuple):
    result: str  # ok, FAILED, skipped
    detail: str
    seconds: float
    counts: Tuple[int, int, int] = (0, 0, 0)  # checks that passed, that failed, that were skipped
    log: str = ""


def missing(architecture: Architecture) -> bool:
    needed = [architecture.compiler, architecture.tools + "ar", *architecture.wrapper[:1]]
    headers = "/usr/include" if not architecture.tools else "/usr/{}/include".format(architecture.tools.rstrip("-"))
    return not all(map(shutil.which, needed)) or not os.path.exists(os.path.join(headers, "linux", "futex.h"))


def cross_file(architecture: Architecture) -> str:
    lines = ["[binaries]", f"c = {architecture.compiler!r}"]
    lines += [f"{tool} = {architecture.tools + tool!r}" for tool in ("ar", "strip")]
    if architecture.wrapper:
        lines.append(f"exe_wrapper = {list(architecture.wrapper)!r}")
    lines += ["[built-in options]", f"c_args = {list(architecture.flags)!r}"]
    lines += ["[host_machine]", "system = 'linux'", f"cpu_family = {architecture.family!r}"]
    lines += [f"cpu = {architecture.name!r}", f"endian = {architecture.endian!r}"]
    return "\n".join(lines) + "\n"


def count(directory: str) -> Tuple[str, Tuple[int, int, int], List[str]]:
    """What the tests said, in a line and in numbers; the names of the programs that failed."""
    failed = []
    passed = skipped = programs = broken = 0
    with open(os.path.join(directory, "meson-logs", "testlog.json"), encoding="utf-8") as file:
        for line in file:
            test = json.loads(line)
            programs += 1
            said = [row for row in test.get("stdout", "").splitlines() if row.startswith(("ok ", "not ok "))]
            not_run = sum("# SKIP" in row for row in said)
            bad = sum(row.startswith("not ok ") and "# SKIP" not in row for row in said)
            passed += len(said) - not_run - bad
            skipped += not_run
            if test["result"] != "OK":
                failed.append(test["name"].rpartition(":")[2].strip())
                bad = max(bad, 1)  # one that ended by a signal or was too slow
            broken += bad
    counts = (passed, broken, skipped)
    return f"{programs} programs, {passed} checks, {skipped} skipped", counts, failed


def run_tests(architecture: Architecture, directory: str, jobs: int) -> Outcome:
    start = time.monotonic()
    if platform.machine() != "x86_64":
        return Outcome("skipped", f"starts from x86_64 only, this machine is {platform.machine()}", 0.0)
    if missing(architecture):
        try:
            apt_install(architecture.packages)
        except Failure as failure:
            return Outcome("skipped", str(failure), time.monotonic() - start)
        if missing(architecture):
            reason = "installed, but incomplete: " + " ".join(architecture.packages)
            return Outcome("skipped", reason, time.monotonic() - start)
    os.makedirs(directory, exist_ok=True)
    build = os.path.join(directory, "build")
    log = os.path.join(directory, "log.txt")
    machine = os.path.join(directory, "cross.ini")
    with open(machine, "w", encoding="utf-8") as file:
        file.write(cross_file(architecture))
    slower = EMULATION_IS_SLOWER if EMULATED + "=1" in architecture.wrapper else 1
    steps = [
        ["meson", "setup", build, ROOT, "-Dpython=false", "--cross-file", machine],
        ["meson", "compile", "-C", build, "-j", str(jobs)],
        ["meson", "test", "-C", build, "--suite", "c", "--print-errorlogs", "-t", str(slower),
         "--num-processes", str(jobs)],
    ]  # fmt: skip
    if os.path.exists(os.path.join(build, "build.ninja")):
        steps[0].append("--reconfigure")
    with open(log, "w", encoding="utf-8") as output:
        for step in steps:
            output.write("$ " + " ".join(step) + "\n")
            output.flush()
            status = subprocess.call(step, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            if status != 0 and step is not steps[-1]:
                return Outcome("FAILED", f"{step[1]} (see {log})", time.monotonic() - start, log=log)
    detail, counts, failed = count(build)
    seconds = time.monotonic() - start
    if status != 0:
        return Outcome("FAILED", f"{', '.join(failed)}; {detail} (see {log})", seconds, counts, log)
    return Outcome("ok", detail, seconds, counts, log)


def main() -> int:
    names = [architecture.name for architecture in ARCHITECTURES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", default=os.path.join("build", "arch"))
    parser.add_argument("name", nargs="*", help="only these: " + ", ".join(names))
    arguments = parser.parse_args()
    for name in arguments.name:
        if name not in names:
            parser.error(f"unknown architecture {name!r}: {', '.join(names)} are known")
    results = []
    for architecture in ARCHITECTURES:
        if arguments.name and architecture.name not in arguments.name:
            continue
        directory = os.path.join(os.path.abspath(arguments.directory), architecture.name)
        outcome = run_tests(architecture, directory, os.cpu_count() or 1)
        results.append(outcome.result)
        if len(results) == 1:
            print(f"{'name':8} {'architecture':37} {'result':8} {'seconds':>7}  tests")
        row = f"{architecture.name:8} {architecture.what:37} {outcome.result:8} {outcome.seconds:7.0f}"
        print(row, "", outcome.detail, flush=True)
    if "FAILED" in results:
        return 1
    if "ok" not in results:
        print("test-arch: no architecture could be tested")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
