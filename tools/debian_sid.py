# SPDX-License-Identifier: MIT
"""Runs the Python tests on the newest interpreters, those that Debian's unstable release (sid) has.

    sudo python3 tools/debian_sid.py                        3.14 and 3.15: install the project, run its tests
    sudo python3 tools/debian_sid.py --python 3.15 --command 'pytest -x tests/py/test_frames.py' --no-install

Makes a chroot with debootstrap under --dir and keeps it: the first run takes minutes, the next ones seconds. Each run
copies the files that git knows or would add into it, makes a virtual environment for each interpreter, installs the
project there with pip and runs the command. Mounts live in a namespace that ends with the run, so the directory can be
removed with rm at any time. Needs root, debootstrap, and unshare of util-linux.

The mirror is the one that this machine's own apt uses; --mirror names another. pip inside the chroot gets the settings
of this machine: its environment (PIP_*, proxies, certificate files) and its configuration files, at run time only.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.14", "3.15")
PACKAGES = ("gcc", "libc6-dev", "ca-certificates")
PYTHON_PACKAGES = (
    "python{}",
    "python{}-dev",
    "python{}-venv",
    "libpython{}-testsuite",
)  # the last: CPython's own tests
# Inside the chroot.
PROJECT = "/mprofile"
VENVS = "/venvs"
# Settings that are passed on, besides PIP_*; in lower case.
SETTINGS = """
    ssl_cert_file ssl_cert_dir requests_ca_bundle curl_ca_bundle http_proxy https_proxy all_proxy no_proxy ci
""".split()
PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Result(NamedTuple):
    """What one interpreter gave."""

    python: str
    version: str
    install: str
    tests: str
    seconds: float
    summary: str


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Returns 0 if every interpreter passed."""
    options = parse(argv)
    chroot = options.dir.resolve()
    try:
        check_machine()
        make_chroot(chroot, options.mirror)
        pythons = options.python or list(PYTHONS)
        wanted = list(PACKAGES) + options.package
        for python in pythons:
            wanted += [part.format(python) for part in PYTHON_PACKAGES]
        install_packages(chroot, wanted)
        copy_project(chroot)
        results = [test(chroot, python, options) for python in pythons]
    except Failure as failure:
        print("debian_sid: {}".format(failure), file=sys.stderr)
        return 2
    print_table(results)
    return 0 if all(result.tests == "passed" for result in results) else 1


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    # The page of the flame graph is the same whatever the interpreter, and the chroot has no Node to build it.
    directories = [name for name in ("tests/py", "tests/cpython") if (ROOT / name).is_dir()]
    default = "pytest -q --ignore=tests/py/test_flamegraph.py " + " ".join(directories)
    parser = argparse.ArgumentParser(
        description="Runs the Python tests on the interpreters of Debian sid, in a chroot.",
    )
    add = parser.add_argument
    add("--dir", type=Path, default=ROOT / "build" / "sid", help="where the chroot is kept (default: build/sid)")
    add("--mirror", help="Debian archive to use (default: the one in apt's own sources)")
    add("--python", action="append", help="version to test; may be repeated (default: {})".format(" ".join(PYTHONS)))
    add("--package", action="append", default=[], help="further Debian package that the command needs; may be repeated")
    add("--requirement", action="append", default=[], help="further package from pip, beside pytest; may be repeated")
    add(
        "--command",
        default=default,
        help="run in the project's directory, the virtual environment first on PATH (default: %(default)s)",
    )
    add("--no-install", action="store_true", help="do not install the project: the command builds what it needs")
    return parser.parse_args(argv)


class Failure(Exception):
    """Something that ends the run; the text says what to do."""


def check_machine() -> None:
    if os.geteuid() != 0:
        raise Failure("needs root (chroot and mount); this is user id {}".format(os.geteuid()))
    for tool, package in (("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("git", "git")):
        if shutil.which(tool) is None:
            raise Failure("{0} not found: apt-get install {1}".format(tool, package))


def own_mirror() -> str:
    """The archive that this machine's apt takes Debian from."""
    lines = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    ).stdout.splitlines()
    for line in lines:
        uri, _, rest = line.partition(" ")
        if rest == "Debian Debian":
            return uri
    raise Failure("apt knows no Debian archive here: run apt-get update, or give --mirror URL")


def make_chroot(chroot: Path, mirror: Optional[str]) -> None:
    """Leaves a complete chroot: an interrupted one has no stamp and is made again."""
    stamp = chroot / ".made-by-debian-sid"
    if stamp.exists():
        return
    if chroot.exists() and any(chroot.iterdir()) and not (chroot / "debootstrap").exists():
        raise Failure("{} is neither empty nor a chroot of this tool: remove it or give --dir".format(chroot))
    say("debootstrap into {}".format(chroot))
    shutil.rmtree(str(chroot), ignore_errors=True)
    chroot.mkdir(parents=True)
    must(["debootstrap", "--variant=minbase", "sid", str(chroot), mirror or own_mirror()], "debootstrap")
    stamp.touch()


def install_packages(chroot: Path, packages: List[str]) -> None:
    """Asks apt only if a package is missing."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n"] + packages
    shown = inside(chroot, query, capture=True)
    missing = [name for name in packages if name + " installed" not in shown.stdout.splitlines()]
    if not missing:
        return
    say("apt-get install {}".format(" ".join(missing)))
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    # A mirror that lags behind, so that its index has expired, is good enough for tests.
    for command in (
        ["-o", "Acquire::Check-Valid-Until=false", "update"],
        ["install", "-y", "--no-install-recommends"] + missing,
    ):
        done = inside(chroot, ["apt-get", "-qq"] + command, environment, capture=True)
        if done.returncode != 0:
            raise Failure("apt-get {} failed:\n{}".format(" ".join(command), done.stdout))


def copy_project(chroot: Path) -> None:
    """What git tracks, and new files that it does not ignore: never a build directory."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE,
        check=True,
    )
    target = chroot / PROJECT[1:]
    shutil.rmtree(str(target), ignore_errors=True)
    for name in sorted(set(os.fsdecode(listed.stdout).split("\0")) - {""}):
        source = ROOT / name
        if source.is_file():  # a deleted file is still listed until the next commit
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(source), str(target / name))


def test(chroot: Path, python: str, options: argparse.Namespace) -> Result:
    venv = "{}/{}".format(VENVS, python)
    interpreter = venv + "/bin/python"
    start = time.monotonic()
    say("Python {}".format(python))
    must_inside(chroot, ["python" + python, "-m", "venv", "--clear", venv], "venv")
    pip_install = [interpreter, "-m", "pip", "install", "-q"]
    must_inside(chroot, pip_install + ["pytest"] + options.requirement, "pip install pytest")
    print_version = "import sys; print(sys.version.split()[0])"
    version = inside(chroot, [interpreter, "-c", print_version], capture=True).stdout.strip()
    install = "skipped"
    if not options.no_install:
        done = inside(chroot, pip_install + [PROJECT])
        install = "done" if done.returncode == 0 else "failed"
    if install == "failed":
        return Result(python, version, install, "not run", time.monotonic() - start, "pip install failed")
    environment = {"PATH": venv + "/bin:" + PATH, "PYTHONNOUSERSITE": "1"}
    command = ["sh", "-c", "cd {} && {}".format(PROJECT, options.command)]
    last = ""
    with start_inside(chroot, command, environment, capture=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line.strip() or last
    tests = "passed" if process.returncode == 0 else "failed ({})".format(process.returncode)
    return Result(python, version, install, tests, time.monotonic() - start, last.strip("= "))


def passed_through() -> Dict[str, str]:
    """The settings of this machine that pip inside needs to reach its registry."""
    return {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.lower() in SETTINGS}


def files_to_bind(environment: Dict[str, str]) -> List[Path]:
    """Files and directories that those settings name, and pip's own files."""
    names = [word for value in environment.values() for word in value.split()]
    names += [os.path.expanduser(name) for name in PIP_FILES]
    return sorted({Path(name) for name in names if os.path.isabs(name) and os.path.exists(name)})


def start_inside(
    chroot: Path, command: List[str], environment: Optional[Dict[str, str]] = None, capture: bool = False
) -> "subprocess.Popen[str]":
    """Starts a command in the chroot, in a mount and process namespace of its own.

    /proc, /dev and the files that settings name are mounted there and vanish with it. The files stay
    out of apt's sight: its packages own some of the same names, and replace them.
    """
    settings = passed_through()
    files = [Path("/etc/resolv.conf"), Path("/etc/hosts")]
    if command[0] != "apt-get":
        files += files_to_bind(settings)
    script = ["set -e", "mount --make-rprivate /", "mount -t proc proc {}/proc".format(shlex.quote(str(chroot)))]
    script.append("mount --rbind /dev {}/dev".format(shlex.quote(str(chroot))))
    for source in files:
        target = chroot / str(source)[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            target.mkdir(exist_ok=True)
        elif not target.exists():
            target.touch()
        script.append("mount --bind {} {}".format(shlex.quote(str(source)), shlex.quote(str(target))))
    script.append("exec chroot {} {}".format(shlex.quote(str(chroot)), " ".join(map(shlex.quote, command))))
    inner = {"PATH": PATH, "HOME": str(Path.home()), "LANG": "C.UTF-8", "TERM": "dumb"}
    inner.update(settings)
    inner.update(environment or {})
    (chroot / inner["HOME"][1:]).mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script)],
        env=inner,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        universal_newlines=True,
    )


def inside(
    chroot: Path, command: List[str], environment: Optional[Dict[str, str]] = None, capture: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Runs a command in the chroot to its end."""
    with start_inside(chroot, command, environment, capture) as process:
        output, _ = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output or "")


def must_inside(chroot: Path, command: List[str], what: str) -> None:
    if inside(chroot, command).returncode != 0:
        raise Failure("{} failed in {}".format(what, chroot))


def must(command: List[str], what: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode != 0:
        raise Failure("{} failed:\n{}".format(what, done.stdout))


def say(text: str) -> None:
    print("==", text, flush=True)


def print_table(results: List[Result]) -> None:
    rows = [("python", "version", "install", "tests", "seconds", "last line")]
    rows += [(r.python, r.version, r.install, r.tests, "{:.0f}".format(r.seconds), r.summary) for r in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
