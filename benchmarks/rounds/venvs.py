# SPDX-License-Identifier: MIT
"""Virtual environments for the programs and for each peer, made on demand under build/bench-venvs and kept.

The base environment has what the programs need. A peer's has the peer, and sees the base's packages after its own. Our
own package is not installed: workers get the one that the benchmarks themselves import.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import sysconfig
from typing import Dict, List, NamedTuple, Optional

from . import configurations

HERE = os.path.dirname(os.path.abspath(__file__))
BENCHMARKS = os.path.dirname(HERE)
START = os.path.join(BENCHMARKS, "start")
BASE = ["pyperf>=2.6", "pyperformance>=1.10", "numpy", "pandas", "flask", "waitress", "starlette", "uvicorn",
        "zstandard", "rich"]  # fmt: skip

# Benchmarks of pyperformance's that are not run: they say nothing about an allocator.
LEFT_OUT = {"python_startup": "times the start of interpreters", "hg_startup": "times the start of interpreters"}


class Environment(NamedTuple):
    """An interpreter with packages, or why there is none."""

    python: str
    error: str
    packages: Dict[str, str]


def run(command: List[str], log: str) -> int:
    """Exit status; what it says is appended to the log."""
    with open(log, "a", encoding="utf-8") as file:
        file.write("$ %s\n" % " ".join(command))
        file.flush()
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode


def site_packages(directory: str) -> str:
    return sysconfig.get_path("purelib", vars={"base": directory, "platbase": directory})


class Venvs:
    """The environments below a directory, for the interpreter that runs this."""

    def __init__(self, directory: str, reuse_own: bool = False) -> None:
        self.directory = os.path.join(os.path.abspath(directory), "py%d.%d" % sys.version_info[:2])
        self.reuse_own = reuse_own
        self.made: Dict[str, Environment] = {}
        self.built: Dict[str, str] = {}
        os.makedirs(self.directory, exist_ok=True)

    def get(self, name: str) -> Environment:
        """The environment `base` or that of a peer; made if it is not there, tried again if that failed before."""
        if name not in self.made:
            if name == "base" and self.reuse_own:
                self.made[name] = Environment(sys.executable, "", {})
            elif name == "base":
                self.made[name] = self._make(name, BASE, self._requirements_of_pyperformance)
            else:
                base = self.get("base")
                if base.error:
                    self.made[name] = Environment("", "no base environment: " + base.error, {})
                else:
                    self.made[name] = self._make(name, configurations.PEERS[name], self._see_base)
        return self.made[name]

    def _make(self, name: str, packages: List[str], finish: "Finish") -> Environment:
        directory = os.path.join(self.directory, name)
        python = os.path.join(directory, "bin", "python")
        stamp = os.path.join(directory, "made.json")
        if os.path.exists(stamp):
            with open(stamp, encoding="utf-8") as file:
                made = json.load(file)
            if made["asked"] == packages:
                return Environment(python, "", made["packages"])
        print("making the environment %s" % directory, file=sys.stderr)
        log = os.path.join(self.directory, name + ".log")
        create = [sys.executable, "-m", "venv", "--clear", directory]
        for command in (create, [python, "-m", "pip", "install", "-q"] + packages):
            status = run(command, log)
            if status != 0:
                return Environment("", "%s: exit status %d, see %s" % (" ".join(command[1:]), status, log), {})
        finish(directory, python, log)
        listed = json.loads(subprocess.check_output([python, "-m", "pip", "list", "--format", "json"]).decode())
        versions = {entry["name"].lower(): entry["version"] for entry in listed}
        with open(stamp, "w", encoding="utf-8") as file:
            json.dump({"asked": packages, "packages": versions}, file, indent=1)
        return Environment(python, "", versions)

    def _requirements_of_pyperformance(self, directory: str, python: str, log: str) -> None:
        """Each benchmark's own, one after the other: where one cannot be installed, that benchmark alone fails.

        What our own programs need comes again after them, for versions may be at odds.
        """
        for name, script in pyperformance_scripts(site_packages(directory)).items():
            requirements = os.path.join(os.path.dirname(script), "requirements.txt")
            if os.path.exists(requirements) and name not in LEFT_OUT:
                run([python, "-m", "pip", "install", "-q", "-r", requirements], log)
        run([python, "-m", "pip", "install", "-q"] + BASE, log)

    def _see_base(self, directory: str, python: str, log: str) -> None:
        with open(os.path.join(site_packages(directory), "zz-base.pth"), "w", encoding="utf-8") as file:
            file.write(site_packages(os.path.join(self.directory, "base")) + "\n")

    def own_package(self) -> str:
        """A directory with nothing but the mprofile that the benchmarks import."""
        spec = importlib.util.find_spec("mprofile")
        assert spec is not None and spec.submodule_search_locations, "mprofile is not installed for this interpreter"
        directory = os.path.join(self.directory, "own")
        os.makedirs(directory, exist_ok=True)
        link = os.path.join(directory, "mprofile")
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(list(spec.submodule_search_locations)[0], link)
        return directory

    def extension(self, source: str) -> str:
        """A directory with nothing but the extension module built from a file of C below benchmarks/."""
        if source in self.built:
            return self.built[source]
        name = os.path.splitext(os.path.basename(source))[0]
        directory = os.path.join(self.directory, name)
        os.makedirs(directory, exist_ok=True)
        target = os.path.join(directory, name + ".so")
        command = shlex.split(os.environ.get("CC", "cc")) + [
            "-std=c11", "-O2", "-fPIC", "-shared", "-I", sysconfig.get_paths()["include"],
            os.path.join(BENCHMARKS, source), "-o", target,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        self.built[source] = directory
        return directory

    def variables(self, configuration: configurations.Configuration) -> Dict[str, str]:
        """What the environment of a worker has besides, so that it starts under the configuration."""
        path = [START, self.extension(os.path.join("instructions", "driver.c"))]
        if configuration.kind == "empty":
            path.append(self.extension(os.path.join("start", "empty_hook.c")))
        if configuration.environment == "base":
            path.append(self.own_package())
        return {"PYTHONPATH": os.pathsep.join(path), "MPROFILE_BENCH_CONFIGURATION": configuration.name}


def pyperformance_scripts(packages: Optional[str] = None) -> Dict[str, str]:
    """Name -> run_benchmark.py of each benchmark of pyperformance's below a site-packages."""
    directory = os.path.join(packages or "", "pyperformance", "data-files", "benchmarks")
    found = {}
    for entry in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        script = os.path.join(directory, entry, "run_benchmark.py")
        if entry.startswith("bm_") and os.path.exists(script):
            found[entry[3:]] = script
    return found


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Finish = Callable[[str, str, str], None]
