# SPDX-License-Identifier: MIT
"""What the hazard tests share.

WHAT    @isolated makes a test function run in a Python process of its own, which imports the test's file and calls the
        function there. Its parameters must be values that JSON knows; one called `environment` is a dict of environment
        variables for the process. run() runs a program given as text.
        extensions() builds the C modules of ext/ once and returns their directory; programs have it on their path.
WHY     Many hazards end in a crash or a deadlock. In a process of its own that is one failed test with a stack, and
        what is recorded is the test's own allocations.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar, cast

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(HERE, "ext")
MODULES = ("_hazard_mem", "_hazard_below", "_hazard_foreign")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
TIMEOUT = 300.0 * float(os.environ.get("TESTS_PATIENCE", "1"))  # a build for coverage is slower

RAW, MEM, OBJ = 0, 1, 2

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
DEBUG_BUILD = bool(sysconfig.get_config_var("Py_DEBUG"))


def large_from(domain: int) -> int:
    """The domain whose allocator has the blocks of some kilobytes that `domain` gives out: RAW, for pymalloc passes
    them on. Without a GIL there is mimalloc instead, which passes on nothing."""
    return domain if FREE_THREADED else RAW


Function = TypeVar("Function", bound=Callable[..., Any])


class NoCompiler(Exception):
    """There is no C compiler, or Python's headers are not installed."""


# ---- the C modules ----


def compiler() -> List[str]:
    for command in (os.environ.get("CC"), "cc", "gcc", "clang"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]) is not None:
            return words
    raise NoCompiler("no C compiler: set CC, or install cc, gcc or clang")


def include_options() -> List[str]:
    paths = sysconfig.get_paths()
    directories = {paths["include"], paths["platinclude"]}
    if not any(os.path.exists(os.path.join(directory, "Python.h")) for directory in directories):
        raise NoCompiler("no Python.h in " + " or ".join(sorted(directories)))
    options = []
    for directory in sorted(directories):
        options += ["-isystem", directory]
    return options


def compile_c(source: str, target: str, *options: str) -> None:
    """Compile one file of ext/; AssertionError with the compiler's words if it fails or warns."""
    command = [*compiler(), "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", *WARNINGS, *include_options()]
    command += [*shlex.split(os.environ.get("CFLAGS", "")), os.path.join(SOURCES, source), "-o", target, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0 and not done.stdout, "{}\n{}".format(" ".join(command), done.stdout)


def compile_library(source: str, directory: object) -> str:
    """Compile one file of ext/ to a library in the directory, for ctypes or LD_PRELOAD; its path."""
    path = os.path.join(str(directory), os.path.splitext(source)[0] + ".so")
    compile_c(source, path, "-fPIC", "-shared")
    return path


def merged(first: str, second: str) -> List[str]:
    """All ways to shuffle two sequences of events into one."""
    if not first or not second:
        return [first + second]
    return [first[0] + rest for rest in merged(first[1:], second)] + [
        second[0] + rest for rest in merged(first, second[1:])
    ]


#: Orders of two sessions of mprofile (M, m) and one of another tool (T, t), upper case for start; and of one and two.
TWO_AND_ONE = merged("MmMm", "Tt")
ONE_AND_TWO = merged("Mm", "TtTt")


@functools.lru_cache(maxsize=None)
def extensions() -> str:
    """Directory with the modules of ext/, built at the first call; a child is told where they are."""
    if "HAZARD_MODULES" in os.environ:
        return os.environ["HAZARD_MODULES"]
    directory = tempfile.mkdtemp(prefix="hazards-")
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    for module in MODULES:
        source = module[len("_hazard_") :] + ".c"
        compile_c(source, os.path.join(directory, module + suffix), "-fPIC", "-shared")
    return directory


def forget_extensions() -> None:
    if extensions.cache_info().currsize:
        shutil.rmtree(extensions(), ignore_errors=True)


# ---- processes ----


def environment(**changes: Optional[str]) -> Dict[str, str]:
    """This process's environment with the C modules and this directory on the path; None removes a variable."""
    result = dict(os.environ)
    paths = [HERE, extensions(), *filter(None, [result.get("PYTHONPATH")])]
    result["PYTHONPATH"] = os.pathsep.join(paths)
    result["HAZARD_MODULES"] = extensions()
    result["PYTHONFAULTHANDLER"] = "1"
    for name in ("PYTHONMALLOC", "PYTHONTRACEMALLOC", "MPROFILERATE"):
        result.pop(name, None)
    if DEBUG_BUILD:
        # By default its checks lie over each allocator; they move addresses and add to sizes that tests know. A test
        # that wants them says so.
        result["PYTHONMALLOC"] = "mimalloc" if FREE_THREADED else "pymalloc"
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def start(command: Sequence[str], **changes: Optional[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env=environment(**changes),
        cwd=extensions(),  # not the source tree, whose package has no extension module
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        errors="backslashreplace",  # CPython's debug hooks print bytes of memory as they are
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = TIMEOUT, status: int = 0) -> str:
    """What the process wrote to stdout. AssertionError with its stderr if it ends otherwise than with `status`."""
    from processes import output  # not there for the programs, which import this module too

    out, err = output(process, timeout)
    assert process.returncode == status, "exit status {}\n{}\n{}".format(process.returncode, out, err)
    return out


def run(
    code: str,
    *options: str,
    arguments: Sequence[str] = (),
    timeout: float = TIMEOUT,
    status: int = 0,
    **changes: Optional[str],
) -> str:
    """Run a program given as text with `python OPTIONS -c`; its stdout."""
    return finish(start([sys.executable, *options, "-c", code, *arguments], **changes), timeout, status)


def in_child() -> bool:
    return "HAZARD_CHILD" in os.environ


def isolated(function: Function) -> Function:
    """Decorator of a test: its body runs in a process of its own."""
    path = function.__code__.co_filename

    @functools.wraps(function)
    def wrapper(**fixtures: Any) -> None:
        if in_child():
            function(**fixtures)
            return
        changes = fixtures.get("environment", {})
        command = [sys.executable, os.path.abspath(__file__), path, function.__name__, json.dumps(fixtures)]
        finish(start(command, HAZARD_CHILD="1", **changes))

    return cast(Function, wrapper)


def child(path: str, name: str, fixtures: str) -> None:
    sys.path.insert(0, os.path.dirname(path))
    module = __import__(os.path.splitext(os.path.basename(path))[0])
    getattr(module, name)(**json.loads(fixtures))


# ---- what was recorded ----


class Block(NamedTuple):
    """A trace: its size and its frames, most recent first, as (file, line, name)."""

    size: int
    frames: Tuple[Tuple[str, int, Optional[str]], ...]

    @property
    def names(self) -> List[str]:
        """Plain names: before 3.11 a code object has no other."""
        return [(frame[2] or "").rpartition(".")[2] for frame in self.frames]

    @property
    def known(self) -> bool:
        return self.frames[0][0] != "<unknown>"


# From 3.15 on a bytearray keeps its bytes in a bytes object, whose header of 32 bytes is part of the block.
BYTEARRAY_HEADER = 32 if sys.version_info >= (3, 15) else 0


def blocks_of(traces: Iterable[Any], *sizes: int) -> List[Block]:
    """The blocks of a snapshot, or only those that have one of these sizes; of a bytearray without its header."""
    found = []
    for trace in traces:
        size = trace[1]
        if sizes and size not in sizes:
            size -= BYTEARRAY_HEADER
            if size <= BYTEARRAY_HEADER or size not in sizes:
                continue
        found.append(Block(size, tuple((frame[0], frame[1], frame.name) for frame in trace[2])))
    return found


def blocks(*sizes: int) -> List[Block]:
    """Everything recorded now, or only what has one of these sizes."""
    from mprofile import _core

    return blocks_of(_core._get_traces(), *sizes)


@contextlib.contextmanager
def recording(max_frames: int = 128, sample_rate: int = 0, **options: Any) -> Iterator[None]:
    """Records in its body, and checks the profiler's tables at the end."""
    from mprofile import _core

    _core.start(max_frames, sample_rate, **options)
    try:
        yield
        assert _core._valid()
    finally:
        _core.stop()


if __name__ == "__main__":
    child(*sys.argv[1:])
