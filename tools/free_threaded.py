# SPDX-License-Identifier: MIT
"""Runs the Python tests on CPython without a GIL (a free-threaded build, PEP 703), built from Debian's source.

    python3 tools/free_threaded.py                          build 3.13t, install the project, run its tests
    python3 tools/free_threaded.py --pytest-args 'tests/py/test_free_threading.py -x'
    python3 tools/free_threaded.py --no-test                install only, and print which python has it

Debian packages no free-threaded interpreter, but it has the source: this fetches that of --source from --suite with
apt-get, unpacks it without Debian's patches, configures it with --disable-gil, and installs it under --dir. That takes
a few minutes, once; what is there stays, and the next run starts with pip. Remove the directory for a newer source.

Does not need root, and leaves the machine's apt alone: its sources, lists and cache have a directory of their own under
--dir. Needs apt-get, dpkg-source (dpkg-dev), make, a C compiler, and the development files of zlib, OpenSSL and libffi;
other modules of the standard library are left out if their libraries are missing. The mirror is the one that this
machine's own apt uses; --mirror names another.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from debian_sid import Failure, own_mirror

ROOT = Path(__file__).resolve().parents[1]
DIRECTORIES = ("tests/py", "tests/cpython", "tests/integration")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
STAMP = ".made-by-free-threaded"
PROBE = """
import json, ssl, sys, sysconfig, zlib
print(json.dumps({
    "version": sys.version.split()[0],
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "gil": sys._is_gil_enabled(),
}))
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Returns 0 if the tests passed, 1 if they failed, 2 if they could not be run."""
    options = parse(argv)
    directory = options.dir.resolve()
    try:
        interpreter = make_interpreter(directory, options)
        python = install_project(directory, interpreter)
        if options.no_test:
            print(python)
            return 0
        return run_tests(python, shlex.split(options.pytest_args))
    except Failure as failure:
        print("free_threaded: {}".format(failure), file=sys.stderr)
        return 2


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    directory = ROOT / "build" / "free-threaded"
    add("--dir", type=Path, default=directory, help="where all this is kept (default: build/free-threaded)")
    add("--source", default="python3.13", help="Debian's name of the source (default: %(default)s)")
    add("--suite", default="forky", help="Debian's release to take it from (default: %(default)s)")
    add("--mirror", help="Debian archive to use (default: the one in apt's own sources)")
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="of make (default: %(default)s)")
    add("--pytest-args", default=" ".join(DIRECTORIES), help="as in a shell (default: %(default)s)")
    add("--no-test", action="store_true", help="build and install only, and print the interpreter's path")
    return parser.parse_args(argv)


# ---- the interpreter ----


def make_interpreter(directory: Path, options: argparse.Namespace) -> Path:
    """Builds what is missing. An interrupted build has no stamp and is made again."""
    prefix = directory / "python"
    stamp = prefix / STAMP
    if not stamp.exists():
        check_machine()
        if directory.exists() and any(directory.iterdir()) and not (directory / "apt").exists():
            raise Failure("{} is neither empty nor a directory of this tool: choose another --dir".format(directory))
        source = unpack(directory, fetch(directory, options))
        shutil.rmtree(str(prefix), ignore_errors=True)
        build(source, prefix, options.jobs)
    interpreters = sorted(prefix.glob("bin/python3.*t"))
    if len(interpreters) != 1:
        raise Failure("{} has no python3.Nt after make install".format(prefix / "bin"))
    facts = probe(interpreters[0])
    if not facts["free_threaded"] or facts["gil"]:
        raise Failure("{} runs with a GIL".format(interpreters[0]))
    say("Python {} without a GIL: {}".format(facts["version"], interpreters[0]))
    stamp.touch()
    return interpreters[0]


def check_machine() -> None:
    for tool, package in (("apt-get", "apt"), ("dpkg-source", "dpkg-dev"), ("make", "make"), ("cc", "gcc")):
        if shutil.which(tool) is None:
            raise Failure("{} not found: apt-get install {}".format(tool, package))
    for header, package in (("zlib.h", "zlib1g-dev"), ("openssl/ssl.h", "libssl-dev"), ("ffi.h", "libffi-dev")):
        command = ["cc", "-E", "-include", header, "-xc", "/dev/null"]
        if subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
            raise Failure("{} not found: apt-get install {}".format(header, package))
    if not KEYRING.exists():
        raise Failure("{} not found: apt-get install debian-archive-keyring".format(KEYRING))


def fetch(directory: Path, options: argparse.Namespace) -> Path:
    """Downloads the source package and returns its .dsc. Settings of this machine's apt, but sources, lists and cache
    of our own, so that it needs no root and changes nothing outside the directory."""
    apt = directory / "apt"
    downloads = directory / "downloads"
    shutil.rmtree(str(downloads), ignore_errors=True)
    for part in (apt / "state" / "lists" / "partial", apt / "cache" / "archives" / "partial", downloads):
        part.mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(
        "deb-src [signed-by={}] {} {} main\n".format(KEYRING, options.mirror or own_mirror(), options.suite),
        encoding="utf-8",
    )
    settings = (
        ("Dir::Etc::sourcelist", apt / "sources.list"),
        ("Dir::Etc::sourceparts", "-"),
        ("Dir::State", apt / "state"),
        ("Dir::State::status", "/var/lib/dpkg/status"),
        ("Dir::Cache", apt / "cache"),
        ("APT::Sandbox::User", ""),  # all of it belongs to whoever runs this
        ("Acquire::Check-Valid-Until", "false"),  # a mirror that lags behind is good enough
    )
    (apt / "apt.conf").write_text("".join('{} "{}";\n'.format(*pair) for pair in settings), encoding="utf-8")
    environment = {"APT_CONFIG": str(apt / "apt.conf")}
    say("apt-get source {} of {}".format(options.source, options.suite))
    must(["apt-get", "-q", "update"], directory, environment)
    must(["apt-get", "-q", "--download-only", "source", options.source], downloads, environment)
    found = sorted(downloads.glob("*.dsc"))
    if len(found) != 1:
        raise Failure("apt-get source {} left {} .dsc files in {}".format(options.source, len(found), downloads))
    return found[0]


def unpack(directory: Path, description: Path) -> Path:
    """The source without Debian's patches: those move modules to places that only Debian's packages fill."""
    source = directory / "source"
    shutil.rmtree(str(source), ignore_errors=True)
    must(["dpkg-source", "--skip-patches", "--no-check", "-x", str(description), str(source)], directory)
    return source


def build(source: Path, prefix: Path, jobs: int) -> None:
    """No optimisation by profile: it takes many times longer, and these are tests."""
    log = source.parent / "build.log"
    start = time.monotonic()
    say("configure and make: a few minutes, see {}".format(log))
    with open(str(log), "w", encoding="utf-8") as output:
        for command in (
            ["./configure", "--disable-gil", "--prefix={}".format(prefix), "--without-ensurepip"],
            ["make", "-j{}".format(jobs)],
            ["make", "install"],
        ):
            output.write("$ {}\n".format(" ".join(command)))
            output.flush()
            done = subprocess.call(
                command, cwd=str(source), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            if done != 0:
                raise Failure("{} failed ({}): see {}".format(" ".join(command), done, log))
    say("built in {:.0f} seconds".format(time.monotonic() - start))


def probe(interpreter: Path) -> Dict[str, object]:
    done = subprocess.run(
        [str(interpreter), "-c", PROBE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=environment_of(interpreter),
    )
    if done.returncode != 0:
        raise Failure("{} does not work:\n{}".format(interpreter, done.stderr))
    facts = json.loads(done.stdout)
    assert isinstance(facts, dict)
    return facts


# ---- the project ----


def install_project(directory: Path, interpreter: Path) -> Path:
    """As a user would: by pip, from the tree, into a virtual environment; with what the tests need besides."""
    python = directory / "venv" / "bin" / "python"
    log = directory / "install.log"
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    say("pip install")
    with open(str(log), "w", encoding="utf-8") as output:

        def step(command: List[str], optional: bool = False) -> bool:
            output.write("$ {}\n".format(" ".join(command)))
            output.flush()
            done = subprocess.call(
                command,
                cwd=str(ROOT),
                env=environment_of(python),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            if done != 0 and not optional:
                raise Failure("{} failed ({}): see {}".format(" ".join(command), done, log))
            return done == 0

        if not python.exists():
            step([str(interpreter), "-m", "venv", str(directory / "venv")])
        step(pip + ["-r", "tools/requirements.txt"])
        for requirement in requirements("tools/requirements-test.txt"):
            # Many packages have no wheel for such an interpreter, and some refuse to be built for it.
            if requirement.startswith("pytest"):
                step(pip + [requirement])
            elif not step(pip + ["--only-binary", ":all:", requirement], optional=True):
                say("no wheel of {} for this interpreter: its tests will skip".format(requirement))
        step(
            pip
            + ["--no-build-isolation", "--no-deps", "--force-reinstall"]
            + ["-Cbuild-dir={}".format(directory / "package"), "."]
        )
    return python


def requirements(name: str) -> List[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def run_tests(python: Path, arguments: List[str]) -> int:
    say("pytest {}".format(" ".join(arguments)))
    # Not python -m pytest: that puts the project's directory, where the package has no extension module, first.
    command = [str(python.parent / "pytest"), "-p", "no:cacheprovider"] + arguments
    environment = environment_of(python)
    environment.pop("CI", None)  # where it is set, a test fails for want of a module
    return 0 if subprocess.call(command, cwd=str(ROOT), env=environment) == 0 else 1


def environment_of(python: Path) -> Dict[str, str]:
    """Of this process, without what would change the interpreter: PYTHON_GIL=1 above all."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PATH"] = str(python.parent) + os.pathsep + environment.get("PATH", os.defpath)
    environment["PYTHONNOUSERSITE"] = "1"
    return environment


# ---- small things ----


def must(command: List[str], directory: Path, environment: Optional[Dict[str, str]] = None) -> None:
    done = subprocess.run(
        command,
        cwd=str(directory),
        env=dict(os.environ, **(environment or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    if done.returncode != 0:
        raise Failure("{} failed ({}):\n{}".format(" ".join(command), done.returncode, done.stdout))


def say(text: str) -> None:
    print("==", text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
