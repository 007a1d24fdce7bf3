# SPDX-License-Identifier: MIT
"""A chroot with the newest interpreters, those of Debian's unstable release (sid), and the project in it.

    sudo python3 tools/debian_sid.py --python 3.15 'pytest -x tests/py/test_frames.py'
    sudo python3 tools/debian_sid.py --python 3.14-dbg --no-install 'python -c "import sys; print(sys.version)"'

installs the project for that interpreter and runs the command there; `make test-all` uses it for its rows of sid.

Makes the chroot with debootstrap under build/sid and keeps it: the first run takes minutes, the next ones seconds. Each
run copies the files that git knows or would add into it. Mounts live in a namespace that ends with the command, so the
directory can be removed with rm at any time. Needs root, debootstrap, and unshare of util-linux.

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
import threading
from pathlib import Path
from typing import IO, Dict, List, Optional, Sequence, Union

import suites
from machine import ROOT, Failure, apt_install, last_lines, must, own_mirror, say, twice

# A -dbg has its own headers and, with the release beside it, its standard library and venv.
PYTHONS = ("3.13-dbg", "3.14", "3.14-dbg", "3.15", "3.15-dbg")
PACKAGES = ("gcc", "libc6-dev", "ca-certificates")
# The last: CPython's own tests.
PYTHON_PACKAGES = ("python{}", "python{}-dev", "python{}-venv", "libpython{}-testsuite")
# Inside the chroot.
PROJECT = "/mprofile"
VENVS = "/venvs"
# Settings that are passed on, besides PIP_*; in lower case.
SETTINGS = """
    ssl_cert_file ssl_cert_dir requests_ca_bundle curl_ca_bundle http_proxy https_proxy all_proxy no_proxy
""".split()
PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Chroot:
    """Made when first asked for; several threads may ask. What could not be made is not tried again."""

    def __init__(self, directory: Path, mirror: Optional[str] = None) -> None:
        self.directory = directory.resolve()
        self._mirror = mirror
        self._lock = threading.Lock()  # of what follows, and of apt and dpkg inside
        self._ready = False
        self._updated = False
        self._failure: Optional[Failure] = None

    def place(self, python: str) -> suites.Place:
        """Where python3.14 or python3.14-dbg of the chroot runs the tests of a fresh copy of the project."""
        with self._lock:
            self._prepare()
            version, _, debug = python.partition("-")
            packages = [name.format(version) for name in PYTHON_PACKAGES]
            self._install_packages(packages + (["python" + python] if debug else []))
        return Inside(self.directory, python)

    def _prepare(self) -> None:
        if self._failure:
            raise self._failure
        if self._ready:
            return
        try:
            check_machine()
            self._make()
            self._install_packages(PACKAGES)
            copy_project(self.directory)
        except Failure as failure:
            self._failure = failure
            raise
        self._ready = True

    def _make(self) -> None:
        """Leaves a complete chroot: an interrupted one has no stamp and is made again."""
        chroot = self.directory
        stamp = chroot / ".made-by-debian-sid"
        if stamp.exists():
            return
        if chroot.exists() and any(chroot.iterdir()) and not (chroot / "debootstrap").exists():
            raise Failure("{} is neither empty nor a chroot of this tool: remove it".format(chroot))
        mirror = self._mirror or own_mirror()

        def make() -> None:
            shutil.rmtree(str(chroot), ignore_errors=True)
            chroot.mkdir(parents=True)
            must(["debootstrap", "--variant=minbase", "sid", str(chroot), mirror])

        say("debootstrap into {}".format(chroot))
        twice(make)
        stamp.touch()

    def _install_packages(self, packages: Sequence[str]) -> None:
        """Asks apt only if a package is missing."""
        query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages]
        shown = inside(self.directory, query).stdout.splitlines()
        missing = [name for name in packages if name + " installed" not in shown]
        if not missing:
            return
        say("apt-get install {} in the chroot".format(" ".join(missing)))
        if not self._updated:
            # A mirror that lags behind, so that its index has expired, is good enough for tests.
            options = ("-o", "Acquire::Check-Valid-Until=false", "-o", "APT::Update::Error-Mode=any")
            twice(lambda: self._apt_get(*options, "update"))
            self._updated = True
        twice(lambda: self._apt_get("install", "-y", "--no-install-recommends", *missing))

    def _apt_get(self, *words: str) -> None:
        done = inside(self.directory, ["apt-get", "-qq", *words], {"DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode != 0:
            raise Failure("apt-get {} failed:\n{}".format(" ".join(words), last_lines(done.stdout)))


class Inside(suites.Place):
    """The project's directory in the chroot."""

    def __init__(self, chroot: Path, python: str) -> None:
        venv = "{}/{}".format(VENVS, python)
        super().__init__("python" + python, venv, venv + "/package", complete=False)
        self.chroot = chroot

    def call(self, command: List[str], output: Optional[IO[str]]) -> int:
        script = "cd {} && exec {}".format(PROJECT, " ".join(map(shlex.quote, command)))
        environment = {"PATH": self.venv + "/bin:" + PATH, "PYTHONNOUSERSITE": "1"}
        with start_inside(self.chroot, ["sh", "-c", script], environment, output) as process:
            return process.wait()

    def exists(self, path: str) -> bool:
        return os.path.lexists(str(self.chroot) + path)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The command's exit status, or 2 if it could not be run."""
    options = parse(argv)
    try:
        place = Chroot(options.dir, options.mirror).place(options.python)
    except Failure as failure:
        print("debian_sid: {}".format(failure), file=sys.stderr)
        return 2
    if not options.no_install:
        log = options.dir / "install-{}.txt".format(options.python)
        failed = suites.install(place, str(log))
        if failed:
            print("debian_sid: {} failed (see {})".format(failed, log), file=sys.stderr)
            return 2
    return place.call(["sh", "-c", options.command], sys.stdout)


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("command", help="run in the project's directory, the virtual environment first on PATH")
    add("--dir", type=Path, default=ROOT / "build" / "sid", help="where the chroot is kept (default: build/sid)")
    add("--mirror", help="Debian archive to use (default: the one in apt's own sources)")
    add("--python", default="3.15", help="version to use (default: %(default)s)")
    add("--no-install", action="store_true", help="neither the project nor what its tests need; the environment stays")
    return parser.parse_args(argv)


def check_machine() -> None:
    if os.geteuid() != 0:
        raise Failure("needs root (chroot and mount); this is user id {}".format(os.geteuid()))
    tools = (("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("git", "git"))
    missing = [package for tool, package in tools if shutil.which(tool) is None]
    if missing:
        apt_install(missing)


def copy_project(chroot: Path) -> None:
    """What git tracks, and new files that it does not ignore: never a build directory. And the flame graph page, built
    here as for a source archive, for the chroot has no Node."""
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
    page = target / "mprofile" / "reports" / "data" / "page.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    must([sys.executable, str(ROOT / "web" / "build.py"), "--work", str(ROOT / "build" / "web-sid"), str(page)])


def passed_through() -> Dict[str, str]:
    """The settings of this machine that pip inside needs to reach its registry."""
    return {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.lower() in SETTINGS}


def files_to_bind(environment: Dict[str, str]) -> List[Path]:
    """Files and directories that those settings name, and pip's own files."""
    names = [word for value in environment.values() for word in value.split()]
    names += [os.path.expanduser(name) for name in PIP_FILES]
    return sorted({Path(name) for name in names if os.path.isabs(name) and os.path.exists(name)})


def start_inside(
    chroot: Path, command: List[str], environment: Optional[Dict[str, str]] = None,
    output: "Union[IO[str], int, None]" = None,
) -> "subprocess.Popen[str]":  # fmt: skip
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
        stdout=output,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )


def inside(
    chroot: Path, command: List[str], environment: Optional[Dict[str, str]] = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command in the chroot to its end, and returns what it printed."""
    with start_inside(chroot, command, environment, subprocess.PIPE) as process:
        output, _ = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output or "")


if __name__ == "__main__":
    sys.exit(main())
