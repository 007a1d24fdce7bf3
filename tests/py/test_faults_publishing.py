# SPDX-License-Identifier: MIT
"""A recording whose system calls fail, each in turn: the program goes on, and no profile is half written.

ext/fault_shim.c is preloaded into a process of its own and lets the n-th call that the extension makes fail, for n = 1,
2 and so on, until a life of the profiler from start() to stop() meets none. After each life the program has its
results; each profile is whole or not there; what the last one lacks was told, by an exception, by one line on stderr
or by the count of drops; and the next life, undisturbed, writes everything.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import Dict, Set, Tuple

import pytest
from processes import preload

HERE = pathlib.Path(__file__).parent

#: Arguments: a directory, the rate, the errno, whether all calls that follow fail, too, and whether the program forks.
PROGRAM = """
import ctypes, errno, os, shutil, sys
import mprofile
from mprofile import _core
from mprofile.profile import Profile

place, rate, error, rest, forks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
SIZE = 3000017
shim = ctypes.CDLL(None)
shim.fault_first.restype = ctypes.c_char_p
if shim.fault_watch(b"_core.") != 0:
    sys.exit("the extension is not where it was expected")
target, history = os.path.join(place, "heap.pb.gz"), os.path.join(place, "history")
noise = os.open(place + ".stderr", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
stderr = os.dup(2)

def work(told):
    kept = bytearray(SIZE)
    many = [(i, str(i)) for i in range(300)]
    assert len(kept) == SIZE and many[299] == (299, "299")
    if forks:
        child = os.fork()
        if child == 0:
            own = bytearray(SIZE)
            told.append(not mprofile.stop_recording())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    return kept

def life():
    "True: the file is to hold everything. Else somebody was told."
    told = []
    try:
        mprofile.start(sample_rate=rate)
    except MemoryError:
        work(told)
        return False
    try:
        mprofile.start_recording(target, every=3600, growth=1e9, history=history)
    except OSError:
        told.append(True)
    kept = work(told)
    if mprofile.is_tracing():
        complete = mprofile.stop_recording()
        told.append(_core._info()["drops"] > 0)
        shim.fault_pause(1)
        assert _core._valid()
        shim.fault_pause(0)
    mprofile.stop()
    return complete and not any(told)

def check(whole, faulty):
    found = []
    for directory, _, names in os.walk(place):
        for name in names:
            path = os.path.join(directory, name)
            if name.startswith("."):
                assert rest and faulty, "a temporary file stays: " + path
                continue
            profile = Profile.read(path)
            assert os.stat(path).st_mode & 0o777 == 0o600
            found.append(path)
    if whole:
        profile = Profile.read(target)
        assert "mprofile: state=final" in profile.comments, profile.comments
        seen = max(row.flat.inuse.bytes for row in profile.rows("line"))
        assert SIZE < seen < SIZE + 100 if rate == 0 else seen > SIZE / 2, seen
    size = os.lseek(noise, 0, os.SEEK_END)
    said = os.pread(noise, size, 0).decode().splitlines()
    os.ftruncate(noise, 0)
    os.lseek(noise, 0, os.SEEK_SET)
    assert all(line.startswith("mprofile: cannot write " + place) for line in said), said
    # One reason is said once by each process. A history that fails has its reason, too.
    assert len(said) <= (1 + forks if faulty else 0), said
    return found, said

def one(n):
    shutil.rmtree(place, ignore_errors=True)
    os.mkdir(place)
    os.dup2(noise, 2)
    try:
        shim.fault_arm(n, error, rest)
        whole = life()
        met = shim.fault_calls()
        call = shim.fault_first().decode()
        shim.fault_arm(0, 0, 0)
        found, said = check(whole, True)
        if n == 1 and rest:
            assert not whole and not found
        for directory, _, names in os.walk(place):
            for name in names:
                if name.startswith("."): # what could not be removed
                    os.unlink(os.path.join(directory, name))
        assert life(), "the next recording is not whole"
        check(True, False)
    finally:
        shim.fault_arm(0, 0, 0)
        os.dup2(stderr, 2)
    return call, met, whole

shim.fault_shorten(int(os.environ.get("SHORT_WRITES", "0")))
seen, troubled, n = set(), 0, 0
while True:
    n += 1
    try:
        call, met, whole = one(n)
    except BaseException:
        print("in the life whose call", n, "fails", flush=True)
        raise
    if met < n:
        assert whole and not call
        break
    seen.add(call)
    troubled += not whole
print(n - 1, troubled, *sorted(seen))
"""


def build(directory: pathlib.Path) -> pathlib.Path:
    """The shim; skips without a compiler."""
    spec = importlib.util.spec_from_file_location("build_probe", str(HERE / "ext" / "build_probe.py"))
    assert spec is not None and spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    try:
        compiler = builder.compiler()
    except builder.NoCompilerError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    library = directory / "fault_shim.so"
    words = ["-std=c11", "-O2", "-g", "-fPIC", "-shared", "-fno-builtin", "-Wall", "-Wextra", "-Werror"]
    command = [*compiler, *words, "-o", str(library), str(HERE / "ext" / "fault_shim.c"), "-ldl"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout
    return library


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return build(tmp_path_factory.mktemp("shim"))


def run(shim: pathlib.Path, directory: pathlib.Path, *numbers: int, **environment: str) -> Tuple[int, int, Set[str]]:
    """How many calls were made to fail, how many of these lives were told of it, and which calls they were."""
    words = [sys.executable, "-c", PROGRAM, str(directory / "place"), *map(str, numbers)]
    options: Dict[str, str] = dict(os.environ, LD_PRELOAD=preload(shim), PYTHONWARNINGS="ignore", **environment)
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=options, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    count, troubled, *seen = done.stdout.split()
    return int(count), int(troubled), set(seen)


#: What a recording cannot do without.
NEEDED = {"mmap", "open", "write", "fsync", "close", "rename", "pthread_create"}
#: What it can: directories are listed to tidy up, locks protect from those who do, the rest is for figures and speed.
SPARED = {"getdents", "flock", "lstat", "read", "madvise"}


def plain(names: Set[str]) -> Set[str]:
    """Names without the 64 that some libraries give to calls."""
    return {name.replace("64", "") for name in names}


@pytest.mark.parametrize("rate, error", [(0, errno.EIO), (65536, errno.ENOMEM)])
def test_each_call_fails_once(shim: pathlib.Path, tmp_path: pathlib.Path, rate: int, error: int) -> None:
    count, troubled, seen = run(shim, tmp_path, rate, error, 0, 0)
    assert NEEDED - {"fsync"} <= plain(seen)
    assert SPARED - {"flock", "lstat"} <= plain(seen)  # whether there is anything to tidy up depends on the moment
    assert 10 < troubled < count


def test_each_call_fails_with_all_that_follow(shim: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A full disk, and no memory either."""
    count, troubled, _ = run(shim, tmp_path, 0, errno.ENOSPC, 1, 0)
    assert count > 60 and 60 < troubled <= count


def test_each_call_is_interrupted(shim: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Which changes nothing: every file is whole, and nobody is told anything."""
    count, troubled, seen = run(shim, tmp_path, 0, errno.EINTR, 0, 0)
    assert {"open", "write", "fsync", "close", "rename"} <= plain(seen)
    assert troubled == 0 < count


def test_each_call_fails_where_each_write_is_short(shim: pathlib.Path, tmp_path: pathlib.Path) -> None:
    whole, _, _ = run(shim, tmp_path, 65536, errno.EINTR, 0, 0)
    count, troubled, _ = run(shim, tmp_path, 65536, errno.EINTR, 0, 0, SHORT_WRITES="500")
    assert troubled == 0 and count > whole
    count, troubled, _ = run(shim, tmp_path, 65536, errno.ENOSPC, 0, 0, SHORT_WRITES="500")
    assert 10 < troubled < count


def test_each_call_fails_around_a_fork(shim: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """In the parent and in the child. The child, too, goes on to its end, and leaves a whole file or none."""
    count, troubled, seen = run(shim, tmp_path, 0, errno.EAGAIN, 0, 1)
    assert NEEDED <= plain(seen)
    assert 10 < troubled < count
