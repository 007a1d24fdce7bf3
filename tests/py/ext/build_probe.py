# SPDX-License-Identifier: MIT
"""Builds the extension _frames_probe with a plain compiler call and imports it.

The tests of src/cpython's readers thereby need neither the build system nor an
installed package: only a C compiler and Python's headers. CC and CFLAGS are
taken from the environment, so that a run can choose clang or a sanitizer. A run that
measures coverage keeps what is built: TESTS_PROBE is the directory, TESTS_PROBE_FLAGS
are flags for it.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import List, Optional

NAME = "_frames_probe"
ROOT = Path(__file__).resolve().parents[3]
SOURCES = (
    "tests/py/ext/frames_probe.c",
    "tests/py/ext/fake_runtime.c",
    "src/base/os_linux.c",
    "src/cpython/frames_cframe.c",
    "src/cpython/lines.c",
    "src/cpython/names.c",
)
# Compiled against fake_runtime.c, so that a test can change what it sees.
CHECKED = "src/cpython/frames_check.c"
FAKES = ("-DPy_GetVersion=fake_version", "-D_PyRuntime=fake_runtime")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wundef", "-Werror")


class NoCompilerError(Exception):
    """There is no C compiler, or Python's headers are not installed."""


def compiler() -> List[str]:
    """The compiler command: $CC, else the one Python was built with, else cc."""
    wanted = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]
    for command in wanted:
        words = shlex.split(command or "")
        if words and shutil.which(words[0]) is not None:
            return words[:1] if command != os.environ.get("CC") else words
    raise NoCompilerError("no C compiler: set CC, or install cc, gcc or clang")


def include_directories() -> List[str]:
    """Where Python.h and pyconfig.h are."""
    found: List[str] = []
    for key in ("include", "platinclude"):
        path: Optional[str] = sysconfig.get_paths().get(key)
        if path is not None and path not in found:
            found.append(path)
    if not any(Path(path, "Python.h").exists() for path in found):
        raise NoCompilerError("no Python.h in {}".format(" or ".join(found)))
    return found


def build(directory: Path) -> Path:
    """Compiles the probe into a directory and returns the file.

    Raises NoCompilerError if that cannot be tried, AssertionError with the compiler's
    output if it fails.
    """
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    target = directory / (NAME + suffix)
    checked = directory / "frames_check.o"
    command = compiler() + ["-std=c11", "-O2", "-g", "-fPIC", "-I", str(ROOT / "src")]
    command += WARNINGS
    for path in include_directories():
        command += ["-isystem", path]
    command += shlex.split(os.environ.get("CFLAGS", "") + " " + os.environ.get("TESTS_PROBE_FLAGS", ""))
    run(command + list(FAKES) + ["-c", str(ROOT / CHECKED), "-o", str(checked)])
    sources = [str(ROOT / source) for source in SOURCES]
    run(command + ["-shared"] + sources + [str(checked), "-o", str(target)])
    return target


def run(command: List[str]) -> None:
    """Runs the compiler; AssertionError with its output if it fails or warns."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0 and not done.stdout, "{}\n{}".format(" ".join(command), done.stdout)


def load(directory: Path) -> ModuleType:
    """Builds the probe and imports it; the module stays loaded."""
    path = build(Path(os.environ.get("TESTS_PROBE", str(directory))))
    spec = importlib.util.spec_from_file_location(NAME, str(path))
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
