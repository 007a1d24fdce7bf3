# SPDX-License-Identifier: MIT
"""CPython without a GIL (a free-threaded build, PEP 703), built from Debian's source.

    python3 tools/free_threaded.py 3.13                     build 3.13t if it is missing, and print its path
    python3 tools/free_threaded.py 3.14 --source Python-3.14.4.tar.xz      from a source that is here already
    python3 tools/free_threaded.py 3.13 --thread-sanitizer  another, built by clang with TSan (tools/tsan_python.sh)

Debian packages no free-threaded interpreter, but it has the source: this fetches it with apt-get, unpacks it without
Debian's patches, configures it with --disable-gil, and installs it under build/free-threaded. That takes a few minutes,
once. Remove the directory for a newer source. `make test-all` runs the tests there.

Leaves the machine's apt alone: sources, lists and cache have a directory of their own. Needs apt-get, dpkg-source
(dpkg-dev), make, a C compiler, and the development files of zlib, OpenSSL and libffi, which are installed when root
asks; other modules of the standard library are left out if their libraries are missing. The mirror is the one that this
machine's own apt uses; --mirror names another.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional, Sequence

from interpreters import probe
from machine import ROOT, Failure, apt_install, must, own_mirror, say
from private_apt import PrivateApt

# Version: Debian's release to take the source from.
SOURCES = {"3.13": "forky", "3.14": "sid", "3.15": "sid"}
STAMP = ".made-by-free-threaded"
PROBE = "import ctypes, ssl, sys, zlib; print(sys._is_gil_enabled())"


def main(argv: Optional[Sequence[str]] = None) -> int:
    options = parse(argv)
    try:
        name = options.version + ("-tsan" if options.thread_sanitizer else "")
        directory = options.dir.resolve() / name
        print(
            make_interpreter(directory, options.version, options.mirror, options.source, options.thread_sanitizer)
        )  # fmt: skip
    except Failure as failure:
        print("free_threaded: {}".format(failure), file=sys.stderr)
        return 2
    return 0


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    directory = ROOT / "build" / "free-threaded"
    add("version", choices=list(SOURCES))
    add("--dir", type=Path, default=directory, help="where all this is kept (default: build/free-threaded)")
    add("--mirror", help="Debian archive to use (default: the one in apt's own sources)")
    add("--source", type=Path, metavar="ARCHIVE", help="CPython's source as a tar archive, instead of Debian's")
    add("--thread-sanitizer", action="store_true", help="an interpreter with clang's thread sanitizer in it")
    return parser.parse_args(argv)


def make_interpreter(
    directory: Path,
    version: str,
    mirror: Optional[str] = None,
    archive: Optional[Path] = None,
    thread_sanitizer: bool = False,
) -> str:
    """Builds what is missing. An interrupted build has no stamp and is made again."""
    prefix = directory / "python"
    stamp = prefix / STAMP
    interpreter = str(prefix / "bin" / "python{}t".format(version))
    if not stamp.exists():
        check_machine(thread_sanitizer)
        ours = [directory / name for name in ("apt", "source")]
        if directory.exists() and any(directory.iterdir()) and not any(path.exists() for path in ours):
            raise Failure("{} is neither empty nor a directory of this tool: remove it".format(directory))
        source = directory / "source"
        shutil.rmtree(str(source), ignore_errors=True)
        if archive:
            unpack_archive(archive.resolve(), source)
        else:
            unpack(fetch(directory, version, mirror or own_mirror()), source)
        shutil.rmtree(str(prefix), ignore_errors=True)
        build(source, prefix, thread_sanitizer)
    facts = probe(interpreter)
    if not facts:
        raise Failure("{} does not work after make install".format(interpreter))
    gil = must([interpreter, "-c", PROBE], environment={"PYTHON_GIL": ""}).strip()
    if not facts["free_threaded"] or gil != "False":
        raise Failure("{} runs with a GIL".format(interpreter))
    stamp.touch()
    return interpreter


def check_machine(thread_sanitizer: bool = False) -> None:
    tools = [("dpkg-source", "dpkg-dev"), ("make", "make"), ("cc", "gcc")]
    if thread_sanitizer:
        tools.append(("clang", "clang"))
    missing = [package for tool, package in tools if shutil.which(tool) is None]
    for header, package in (("zlib.h", "zlib1g-dev"), ("openssl/ssl.h", "libssl-dev"), ("ffi.h", "libffi-dev")):
        if "gcc" in missing or not includes(header):
            missing.append(package)
    if missing:
        apt_install(missing)


def includes(header: str) -> bool:
    command = ["cc", "-E", "-include", header, "-xc", "/dev/null"]
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def fetch(directory: Path, version: str, mirror: str) -> Path:
    """Downloads the source package and returns its .dsc."""
    apt = PrivateApt(directory, mirror, SOURCES[version], kind="deb-src")
    source = "python" + version
    downloads = apt.download("source", source)
    found = sorted(downloads.glob("*.dsc"))
    if len(found) != 1:
        raise Failure("apt-get source {} left {} .dsc files in {}".format(source, len(found), downloads))
    return found[0]


def unpack(description: Path, source: Path) -> None:
    """The source without Debian's patches: those move modules to places that only Debian's packages fill."""
    must(["dpkg-source", "--skip-patches", "--no-check", "-x", str(description), str(source)], source.parent)


def unpack_archive(archive: Path, source: Path) -> None:
    source.mkdir(parents=True)
    must(["tar", "-x", "-f", str(archive), "-C", str(source), "--strip-components=1"])
    if not (source / "configure").exists():
        raise Failure("{} has no configure in its first directory: is it CPython's source?".format(archive))


def build(source: Path, prefix: Path, thread_sanitizer: bool = False) -> None:
    """No optimisation by profile: it takes many times longer, and these are tests."""
    configure = ["./configure", "--disable-gil", "--prefix={}".format(prefix), "--without-ensurepip"]
    environment = dict(os.environ)
    if thread_sanitizer:
        configure += ["--with-thread-sanitizer", "CC=clang"]
        environment["TSAN_OPTIONS"] = "report_bugs=0"  # what make runs is CPython alone
    log = source.parent / "build.log"
    start = time.monotonic()
    say("configure and make: a few minutes, see {}".format(log))
    with open(str(log), "w", encoding="utf-8") as output:
        for command in (
            configure,
            ["make", "-j{}".format(os.cpu_count() or 1)],
            ["make", "install", "COMPILEALL_OPTS=-l"],  # not the whole standard library, each file three times
        ):
            output.write("$ {}\n".format(" ".join(command)))
            output.flush()
            done = subprocess.call(
                command,
                cwd=str(source),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            if done != 0:
                raise Failure("{} failed ({}): see {}".format(" ".join(command), done, log))
    say("built in {:.0f} seconds".format(time.monotonic() - start))


if __name__ == "__main__":
    sys.exit(main())
