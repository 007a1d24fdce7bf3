# SPDX-License-Identifier: MIT
"""Each function of the extension with Python's memory refused: MemoryError, nothing lost, and the next call is right.

_testcapi.set_nomemory(n) lets the n-th request of any domain fail, with all that follow; in a second round, alone. For
each n = 1, 2 and so on, until the call needs no more, or up to 150.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig

import pytest

PROGRAM = """
import gc, itertools, sys
import _testcapi
import mprofile
from mprofile import _core
gc.disable()

def grow(depth):
    return [bytearray(100 + depth), *(grow(depth - 1) if depth else [])]

_core.start(64, int(sys.argv[1]), seed=1, max_live=50000)
kept = [grow(12) for _ in range(20)]
kept.append([bytearray(100 + i % 7) for i in range(300)])
old = _core._get_traces()
kept.append([bytearray(100 + i % 5) for i in range(300)])
new = _core._get_traces()
known = next(item for item in kept[-1] if _core._get_object_traceback(item) is not None)
running = sys.argv[2] == "running"
if not running:
    _core.stop()
numbers = b"".join((i % 3).to_bytes(4, sys.byteorder) for i in range(len(new.functions())))
old_numbers = b"".join((i % 3).to_bytes(4, sys.byteorder) for i in range(len(old.functions())))
data = new.to_pprof((b"one=1", b"two"), b"/usr/bin/python")
some = list(itertools.islice(new, 40))
state = new.__reduce__()
whole = (len(new), len(old))
filters = [(True, bytes([1] * (len(new.filenames()))), -1, True, -1), (False, None, 3, False, -1)]
keep = bytes(i % 2 for i in range(len(new)))

operations = {
    "item": lambda: new[3],
    "slice": lambda: new[2:30:3],
    "iterate": lambda: list(new),
    "compare": lambda: new == old,
    "contains": lambda: some[7] in new,
    "index": lambda: new.index(some[7]),
    "count": lambda: new.count(some[7]),
    "copy": lambda: len(new.copy()),
    "reduce": lambda: new.__reduce__()[1][0],
    "restore": lambda: len(state[0](*state[1])),
    "statistics": lambda: new.statistics("lineno", False),
    "statistics of tracebacks": lambda: new.statistics("traceback", False),
    "cumulative statistics": lambda: new.statistics("filename", True),
    "differences": lambda: new.differences(old, "lineno", False),
    "cumulative differences": lambda: new.differences(old, "filename", True),
    "rows of lines": lambda: new.rows("line"),
    "rows of functions": lambda: new.rows("function"),
    "rows of files": lambda: new.rows("file"),
    "rows of stacks": lambda: new.rows("stack"),
    "functions": lambda: new.functions(),
    "sums": lambda: new.sums(numbers, 3),
    "fold": lambda: new.fold(numbers, None, b"", 3, -1.0, 100),
    "fold two": lambda: new.fold(numbers, old, old_numbers, 3, 0.001, 100),
    "totals": lambda: new.totals(),
    "filenames": lambda: new.filenames(),
    "select": lambda: len(new.select(filters)),
    "select blocks": lambda: len(new.select_blocks(keep)),
    "meta": lambda: new.meta(),
    "comments": lambda: _core._traces_from_pprof(data).comments(),
    "block": lambda: new.block(5),
    "to_pprof": lambda: new.to_pprof((b"one=1", b"two"), b"/usr/bin/python"),
    "from pprof": lambda: len(_core._traces_from_pprof(data)),
    "make": lambda: len(_core._make_traces(some)),
    "merge": lambda: len(_core._merge_traces([new, old])),
    "info": lambda: sorted(_core._info()),
    "recording info": lambda: sorted(_core._recording_info()),
    "recording path": lambda: _core._recording_path(b"/tmp/heap.pb.gz", 7),
    "memory": lambda: _core.get_tracemalloc_memory() >= 0,
}
if running:
    operations = {
        "traces": lambda: len(_core._get_traces()) >= 0,
        "traceback of an object": lambda: _core._get_object_traceback(known),
        "traced memory": lambda: len(_core.get_traced_memory()),
        "info": lambda: sorted(_core._info()),
        "rate": lambda: _core.get_sample_rate(),
        "limit": lambda: _core.get_traceback_limit(),
    }

gc.freeze()
failures = 0
for name, operate in operations.items():
    wanted = operate()
    for alone in (False, True):
        in_a_row = 0  # of calls that did not fail: a request may be one that can be done without
        for n in range(1, 150):
            got = None
            failed = False
            gc.collect()  # empties the interpreter's lists of free objects, which need no memory
            _testcapi.set_nomemory(n, n + 1 if alone else 0)
            try:
                got = operate()
            except MemoryError:
                failed = True
            finally:
                _testcapi.remove_mem_hooks()
            if failed:
                failures += 1
                in_a_row = 0
            elif got != wanted:
                sys.exit("{}, request {}: {!r}, not {!r}".format(name, n, got, wanted))
            else:
                in_a_row += 1
            if in_a_row == 5:
                break
        if operate() != wanted:
            sys.exit("{}: not right with memory again".format(name))
    assert _core._valid()
assert whole == (len(new), len(old))
print(failures)
"""


@pytest.mark.parametrize("rate", [0, 200])
@pytest.mark.parametrize("state", ["stopped", "running"])
def test_each_request_of_each_function_is_refused(rate: int, state: str) -> None:
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    if state == "stopped" and sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("without a GIL PyList_New() itself corrupts the heap when it finds no memory (gh-152125)")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, str(rate), state],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > (20 if state == "running" else 400)
