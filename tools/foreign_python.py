# SPDX-License-Identifier: MIT
"""CPython of another architecture, of Debian's, and the project built for it.

    python3 tools/foreign_python.py aarch64                set up what is missing, and print the path of its python

Debian's packages for it are downloaded and unpacked into a directory, and nothing is installed: it needs neither root
nor a chroot. The environment's bin/python is a script that gives the interpreter to its own loader, where this
machine's processor runs it (i686), or to QEMU's user emulation. Whatever starts sys.executable starts the script, so
tests may start processes. pip of this machine puts the tests' modules there, and meson builds the project with the
cross compiler of tools/test_arch.py. Tests that compile something find it, too: as the environment's cc.

`make test-all` runs the tests there, in its rows of architectures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

import suites
import test_arch
from machine import ROOT, Failure, must, own_mirror, say
from private_apt import PrivateApt

RELEASE = "bookworm"
VERSION = "3.11"
PACKAGES = ("python{}", "libpython{}-dev", "libpython{}-testsuite")
# Of the tests' modules those that are Python alone.
MODULES = ("pytest", "hypothesis")
STAMP = ".made-by-foreign-python"


class Foreign(NamedTuple):
    debian: str  # Debian's name of the architecture
    triple: str
    loader: str  # in the directory of the unpacked packages; empty where it is emulated
    emulator: str
    suites: Dict[str, List[str]]  # as of a row of test_all.py


# Under emulation a test takes ten times as long: what reads frames and allocators, and what makes files of it.
SMOKE = [
    f"tests/py/test_{name}.py" for name in ("api", "code_objects", "frames", "selftest", "snapshot", "snapshot_pickle")
]
FOREIGN = {
    "i686": Foreign("i386", "i386-linux-gnu", "lib/i386-linux-gnu/ld-linux.so.2", "", {
        name: [name] for name in ("tests/py", "tests/cpython")
    }),
    "aarch64": Foreign("arm64", "aarch64-linux-gnu", "", "qemu-aarch64", {
        "tests/py": SMOKE, "tests/cpython": ["tests/cpython"]
    }),
    "armhf": Foreign("armhf", "arm-linux-gnueabihf", "", "qemu-arm", {"tests/py": SMOKE}),
    "s390x": Foreign("s390x", "s390x-linux-gnu", "", "qemu-s390x", {"tests/py": SMOKE}),
}  # fmt: skip

ASK = """
import sys, sysconfig
print(sys.executable, sysconfig.get_config_var("MULTIARCH"), sysconfig.get_path("purelib"))
"""
WRAPPER = """\
#!/bin/sh
exec {} "$@"
"""
SCRIPT = """\
#!{}
import sys
from {} import main
sys.exit(main())
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(FOREIGN))
    parser.add_argument("--dir", type=Path, help="where all this is kept (default: build/arch/NAME)")
    options = parser.parse_args(argv)
    directory = options.dir or ROOT / "build" / "arch" / options.name
    try:
        print(os.path.join(make_place(options.name, directory).venv, "bin", "python"))
    except Failure as failure:
        print("foreign_python: {}".format(failure), file=sys.stderr)
        return 2
    return 0


def make_place(name: str, directory: Path) -> suites.Place:
    """Where the tests run; the project is built anew, all else is kept."""
    foreign = FOREIGN[name]
    directory = directory.resolve()
    root, venv = directory / "root", directory / "venv"
    unpack(foreign, root, directory)
    architecture = {one.name: one for one in test_arch.ARCHITECTURES}[name]
    python = make_environment(foreign, architecture.compiler, root, venv)
    said = must([str(python), "-c", ASK]).split()
    if said[:2] != [str(python), foreign.triple]:
        raise Failure("{} says that it is {}".format(python, " ".join(said)))
    package = directory / "package"
    build(architecture, package, python, said[2])
    return suites.Place(str(python), str(venv), str(package), complete=False)


def unpack(foreign: Foreign, root: Path, directory: Path) -> None:
    """An interrupted one has no stamp and is made again."""
    stamp = root / STAMP
    if stamp.exists():
        return
    shutil.rmtree(str(root), ignore_errors=True)
    root.mkdir(parents=True)
    apt = PrivateApt(directory, own_mirror(), RELEASE, architecture=foreign.debian)
    packages = [name.format(VERSION) for name in PACKAGES]
    downloads = apt.download("install", "-y", "--no-install-recommends", *packages)
    found = sorted(downloads.glob("*.deb"))
    if not found:
        raise Failure("apt-get install {} left no packages in {}".format(" ".join(packages), downloads))
    for package in found:
        must(["dpkg-deb", "-x", str(package), str(root)])
    # Debian's pyconfig.h includes that of the architecture from /usr/include, which is this machine's.
    include = root / "usr" / "include"
    shutil.copyfile(
        str(include / foreign.triple / ("python" + VERSION) / "pyconfig.h"),
        str(include / ("python" + VERSION) / "pyconfig.h"),
    )
    # And it tells builders of /usr by name.
    data = root / "usr" / "lib" / ("python" + VERSION) / "_sysconfigdata__{}.py".format(foreign.triple)
    text = data.read_text(encoding="utf-8")
    data.write_text(text.replace("'/usr/include/", "'{}/".format(include)), encoding="utf-8")
    shutil.rmtree(str(downloads))
    stamp.touch()


def make_environment(foreign: Foreign, compiler: str, root: Path, venv: Path) -> Path:
    """The path of its python. One that is complete is kept."""
    python = venv / "bin" / "python"
    site = venv / "lib" / ("python" + VERSION) / "site-packages"
    stamp = venv / STAMP
    if stamp.exists():
        return python
    shutil.rmtree(str(venv), ignore_errors=True)
    for directory in (python.parent, site):
        directory.mkdir(parents=True)
    real = str(root / "usr" / "bin" / ("python" + VERSION))
    if foreign.loader:
        libraries = ":".join(str(root / part / foreign.triple) for part in ("lib", "usr/lib"))
        command = [str(root / foreign.loader), "--argv0", '"$0"', "--library-path", libraries, real]
    else:
        command = [foreign.emulator, "-L", str(root), "-0", '"$0"', real]
    write_script(python, WRAPPER.format(" ".join(command)))
    (python.parent / "python3").symlink_to("python")
    write_script(python.parent / "cc", WRAPPER.format(compiler))
    (venv / "pyvenv.cfg").write_text("home = {}\n".format(root / "usr" / "bin"), encoding="utf-8")
    say("pip install of the tests' modules for {}".format(foreign.debian))
    every = suites.requirements(str(ROOT / "tools" / "requirements-test.txt"))
    must([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(site),
          "--python-version", VERSION, "--only-binary", ":all:", "--platform", "any", "--implementation", "py",
          "--abi", "none", "rich", *(one for one in every if one.startswith(MODULES))])  # fmt: skip
    for name, module in (("pytest", "pytest"), ("mprofile", "mprofile.cli")):
        write_script(python.parent / name, SCRIPT.format(python, module))
    stamp.touch()
    return python


def write_script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def build(architecture: test_arch.Architecture, package: Path, python: Path, site: str) -> None:
    """Cross-compiled, and installed into `site`, where the environment looks."""
    machine = package.parent / "python.ini"
    binaries = "[binaries]\n"
    text = test_arch.cross_file(architecture).replace(binaries, binaries + "python = {!r}\n".format(str(python)))
    machine.write_text(text, encoding="utf-8")
    shutil.rmtree(str(package), ignore_errors=True)
    say("building the project for {}".format(architecture.name))
    must(["meson", "setup", str(package), str(ROOT), "-Dtests=false", "--cross-file", str(machine),
          "-Dpython.purelibdir=" + site, "-Dpython.platlibdir=" + site])  # fmt: skip
    must(["meson", "install", "-C", str(package)])


if __name__ == "__main__":
    sys.exit(main())
