# SPDX-License-Identifier: MIT
"""Another malloc in the place of the C library's, by LD_PRELOAD: jemalloc, mimalloc, tcmalloc.

The profiler hooks Python's allocators and lies above malloc, so what it records must not depend on who gives the
memory: a program's blocks are found exactly, with pymalloc above the other malloc and without.
"""

from __future__ import annotations

import ctypes.util
import glob
import os
import subprocess
import sys
import sysconfig
from typing import Dict, Optional

import pytest
from programs import run

sanitized = pytest.mark.skipif("TESTS_SANITIZED" in os.environ, reason="the sanitizers have a malloc of their own")
pytestmark = sanitized

HERE = os.path.dirname(os.path.abspath(__file__))
HAZARDS = os.path.join(os.path.dirname(HERE), "py", "hazards")

#: Without a GIL Python has an allocator of its own instead.
ALLOCATORS = (
    ["mimalloc", "mimalloc_debug", "debug"]
    if sysconfig.get_config_var("Py_GIL_DISABLED")
    else ["pymalloc", "malloc", "pymalloc_debug"]
)

#: Short name of each library, and what a process that has it loaded has among its maps.
MALLOCS = {"jemalloc": "libjemalloc.so", "mimalloc": "libmimalloc.so", "tcmalloc_minimal": "libtcmalloc_minimal.so"}

PROGRAM = """if True:
    import os, random, sys, threading, zlib
    from mprofile import _core

    loaded = open("/proc/self/maps").read()
    assert sys.argv[1] in loaded, loaded
    # Odd ones: Python's own objects, such as the frames of 3.10, have others.
    SIZES = [start + 2 * number for start in (4097, 401) for number in range(40)] + [3000001, 70000003]

    def count():
        found = {}
        for trace in _core._get_traces():
            if trace[1] in wanted:
                found[trace[1]] = found.get(trace[1], 0) + 1
        return found

    # A bytearray of n - 1 bytes is a block of n.
    wanted = {size for size in SIZES}
    kept = []
    lock = threading.Lock()

    def work(seed):
        choose = random.Random(seed)
        for _ in range(600):
            size = choose.choice(SIZES[:80]) if choose.random() < 0.99 else choose.choice(SIZES)
            block = bytearray(size - 1)
            with lock:
                kept.append(block)
                if choose.random() < 0.5:
                    kept.pop(choose.randrange(len(kept)))
            zlib.compress(bytes(2000), 1)

    def known():
        result = {}
        for block in kept:
            result[len(block) + 1] = result.get(len(block) + 1, 0) + 1
        return result

    def check(exact):
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Other objects have these sizes, too.
        before = known()
        found = count()
        if exact:
            assert all(found.get(size, 0) >= number for size, number in before.items()), (before, found)
        grown = bytearray(100)
        for size in (1000, 100000, 40000000, 50):
            grown[:] = bytes(size)
        assert _core._valid()
        return before, found

    _core.start(32, 0)
    base = count()
    for _ in range(2):
        before, found = check(True)
        for size in set(before) | set(found):
            assert found.get(size, 0) - before.get(size, 0) <= base.get(size, 0) + 3, (size, before, found, base)
        pid = os.fork()
        if pid == 0:
            check(True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        # One thread may free what another made, also after the profiler has stopped.
        kept.clear()
        assert sum(count().values()) <= sum(base.values()) + 3 * len(SIZES)
        more = [bytearray(9000) for _ in range(50)]
        _core.stop()
        del more
        _core.start(32, 4096)
        check(False)
        kept.clear()
        _core.stop()
        _core.start(32, 0)
    print("ok")
    """


def preload(name: str) -> Optional[str]:
    """Path or soname of a library, or None if it is not installed."""
    return ctypes.util.find_library(name) or next(iter(sorted(glob.glob("/usr/lib*/*/lib{}.so*".format(name)))), None)


def environment(name: str) -> Dict[str, str]:
    library = preload(name)
    if library is None:
        problem = "needs the library lib{}, which is not installed".format(name)
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    return dict(os.environ, LD_PRELOAD=str(library))


@pytest.mark.parametrize("python", ALLOCATORS)
@pytest.mark.parametrize("name", list(MALLOCS))
def test_the_blocks_of_a_program(name: str, python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment(name).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYTHONMALLOC", python)
    assert run(PROGRAM, MALLOCS[name]) == "ok\n"


@pytest.mark.parametrize("name", list(MALLOCS))
def test_hazards(name: str) -> None:
    """Some of this project's own tests: threads that swap addresses, and blocks freed while others are allocated."""
    files = [
        os.path.join(HAZARDS, "test_hazard_" + file) for file in ("01_order_of_removal.py", "05_reentrant_free.py")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "swap or 05", *files],
        env=environment(name),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
