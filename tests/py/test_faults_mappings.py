# SPDX-License-Identifier: MIT
"""Each function over snapshots where the system gives no memory: MemoryError, nothing lost, and the next call is right.

ext/fault_shim.c is preloaded and lets the n-th mapping that the extension asks for fail, for n = 1, 2 and so on, alone
or with all that follow, until the call needs no more.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from processes import preload
from test_faults_publishing import build

PROGRAM = """
import ctypes, errno, sys
import mprofile
from mprofile import _core
shim = ctypes.CDLL(None)
if shim.fault_watch(b"_core.") != 0:
    sys.exit("the extension is not where it was expected")
rate = int(sys.argv[1])

def grow(depth):
    return [bytearray(100 + depth), *(grow(depth - 1) if depth else [])]

_core.start(64, rate, seed=1)
kept = [grow(12) for _ in range(20)] + [bytearray(5000 + i) for i in range(200)]
known = next(item for item in kept if _core._get_object_traceback(item) is not None)
old = _core._get_traces()
kept += [bytearray(6000 + i) for i in range(100)]
new = _core._get_traces()
frames = _core._get_object_traceback(known)
_core.stop()
data = new.to_pprof((b"one=1", b"two"), b"/usr/bin/python")
read = _core._traces_from_pprof(data)
numbers = b"".join((i % 3).to_bytes(4, sys.byteorder) for i in range(len(new.functions())))
old_numbers = b"".join((i % 3).to_bytes(4, sys.byteorder) for i in range(len(old.functions())))
names = [("file%d.py" % i, i + 1) for i in range(3000)]
traces = [(0, i, (names[i % 3000], names[i % 7])) for i in range(3000)]
states = [value.__reduce__() for value in (new, read, _core._make_traces(traces))]
filters = [(True, bytes([1] * len(new.filenames())), -1, True, -1), (False, None, 3, False, -1)]
keep = bytes(i % 2 for i in range(len(new)))

operations = {
    "compare": lambda: new == read,
    "copy": lambda: len(new.copy()),
    "restore": lambda: [len(state[0](*state[1])) for state in states],
    "restored comments": lambda: states[1][0](*states[1][1]).comments(),
    "statistics": lambda: new.statistics("traceback", False),
    "cumulative statistics": lambda: new.statistics("filename", True),
    "differences": lambda: new.differences(old, "lineno", False),
    "cumulative differences": lambda: new.differences(old, "filename", True),
    "differences from nothing": lambda: new.differences(_core._make_traces([]), "lineno", False),
    "differences of what was made": lambda: _core._make_traces(traces[:9]).differences(new, "lineno", False),
    "rows": lambda: new.rows("function"),
    "rows of stacks": lambda: new.rows("stack"),
    "sums": lambda: new.sums(numbers, 3),
    "fold": lambda: new.fold(numbers, None, b"", 3, -1.0, 100),
    "fold two": lambda: new.fold(numbers, old, old_numbers, 3, 0.001, 100),
    "select": lambda: len(new.select(filters)),
    "select all": lambda: len(new.select([])),
    "select blocks": lambda: len(new.select_blocks(keep)),
    "to_pprof": lambda: new.to_pprof((b"one=1", b"two"), b"/usr/bin/python"),
    "to_pprof without comments": lambda: new.to_pprof((), b""),
    "from pprof": lambda: len(_core._traces_from_pprof(data)),
    "make": lambda: len(_core._make_traces(traces)),
    "merge": lambda: len(_core._merge_traces([new, old, read])),
}

def check(operations):
    failures = 0
    for name, operate in operations.items():
        wanted = operate()
        told = 0
        for rest in (0, 1):
            n = 0
            while True:
                n += 1
                got = None
                shim.fault_arm(n, errno.ENOMEM, rest)
                try:
                    got = operate()
                except MemoryError:
                    told += 1
                finally:
                    met = shim.fault_calls()
                    shim.fault_arm(0, 0, 0)
                if got is not None and got != wanted:
                    sys.exit("{}, mapping {}: {!r}, not {!r}".format(name, n, got, wanted))
                if met < n:
                    if got is None:
                        sys.exit("{}: no memory, though all was given".format(name))
                    break
                if operate() != wanted:
                    sys.exit("{}: not right with memory again".format(name))
        failures += told
    return failures

failures = check(operations)

def session():
    "Its start, what is asked of it, and its end."
    _core.start(64, rate, seed=1)
    try:
        item = bytearray(900)
        _core.clear_traces()
        again = [bytearray(5000 + i) for i in range(300)]
        stack = _core._get_object_traceback(again[7]) if rate == 0 else ()
        return len(_core._get_traces()) >= 0 and _core.get_traced_memory() is not None and stack is not None
    finally:
        _core.stop()

assert session() is True
for rest in (0, 1):
    n, got = 0, None
    while True:
        n += 1
        shim.fault_arm(n, errno.ENOMEM, rest)
        try:
            session()
        except MemoryError:
            failures += 1
        finally:
            met = shim.fault_calls()
            shim.fault_arm(0, 0, 0)
        assert not _core.is_tracing() and session() is True
        if met < n:
            break
print(failures)
"""


# Under the sanitizer it is its own functions that call the system.
pytestmark = pytest.mark.skipif("TESTS_SANITIZED" in os.environ, reason="needs the system's functions as they are")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return build(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("rate", [0, 200])
def test_each_mapping_of_each_function_is_refused(shim: pathlib.Path, rate: int) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, str(rate)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=1800,
        env=dict(os.environ, LD_PRELOAD=preload(shim)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 100
