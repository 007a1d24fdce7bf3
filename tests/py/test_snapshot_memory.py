# SPDX-License-Identifier: MIT
"""Every allocation that a snapshot's methods ask Python for fails once: MemoryError or the right result, never a crash.

What is called without memory is a method of ours and nothing else: some Pythons crash when a generator finds none.
"""

from __future__ import annotations

import gc
import sys
import sysconfig
from array import array
from typing import Any, Callable, Dict

import pytest

from mprofile import _core

testcapi = pytest.importorskip("_testcapi", reason="this Python was built without its test modules")
pytestmark = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="without a GIL PyList_New() itself corrupts the heap when it finds no memory (gh-152125)",
)

RAW = [(0, i % 7, (("f%d.py" % (i % 5), i % 4), ("\u00e9.py", i % 3)), 2) for i in range(60)]
GIVEN = RAW if sys.version_info >= (3, 9) else [trace[:3] for trace in RAW]

TRACES = _core._make_traces(GIVEN)
OLD = _core._make_traces(GIVEN[:30])
STATE = TRACES.__reduce__()[1]  # type: ignore[index,misc]
PPROF = TRACES.to_pprof((), b"")
KEEP = bytes(i % 3 == 0 for i in range(len(TRACES)))
NUMBERS, OLD_NUMBERS = (array("I", range(len(traces.functions()))).tobytes() for traces in (TRACES, OLD))
FILES = bytes(i % 2 for i in range(len(TRACES.filenames())))

# A copy has caches of its own, which are empty.
CALLS: Dict[str, Callable[[], Any]] = {
    "make": lambda: list(_core._make_traces(GIVEN)),
    "restore": lambda: list(_core._restore_traces(*STATE)),
    "from_pprof": lambda: len(_core._traces_from_pprof(PPROF)),
    "to_pprof": lambda: TRACES.to_pprof((b"one", b"two"), b"program"),
    "reduce": lambda: TRACES.__reduce__()[1],  # type: ignore[index,misc]
    "lines": lambda: TRACES.copy().statistics("lineno", False),
    "files": lambda: TRACES.copy().statistics("filename", True),
    "tracebacks": lambda: TRACES.copy().statistics("traceback", False),
    "differences": lambda: TRACES.copy().differences(OLD.copy(), "traceback", False),
    "rows": lambda: TRACES.copy().rows("line"),
    "stacks": lambda: TRACES.copy().rows("stack"),
    "items": lambda: list(TRACES.copy()),
    "slice": lambda: TRACES.copy()[::2],
    "index": lambda: TRACES.copy().index(GIVEN[50]),
    "equal": lambda: TRACES.copy() == GIVEN,
    "select": lambda: list(TRACES.select([(True, FILES, -1, True, -1)])),
    "select_blocks": lambda: list(TRACES.select_blocks(KEEP)),
    "filenames": lambda: TRACES.copy().filenames(),
    "functions": lambda: TRACES.copy().functions(),
    "sums": lambda: TRACES.sums(NUMBERS, len(TRACES.functions())),
    "fold": lambda: TRACES.fold(NUMBERS, None, b"", 99, 0.1, 0),
    "fold_both": lambda: TRACES.fold(NUMBERS, OLD, OLD_NUMBERS, 99, -1.0, 5),
    "meta": lambda: TRACES.meta(),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_no_memory(name: str) -> None:
    call = CALLS[name]
    want = call()
    failed = 0
    in_a_row = 0
    n = 0
    # Until 20 calls in a row have not met the refused allocation.
    while in_a_row < 20:
        assert n < 5000
        result = None
        gc.disable()  # a collection without memory complains on its own account
        testcapi.set_nomemory(n, n + 1)
        try:
            result = call()
        except MemoryError:
            failed += 1
            in_a_row = 0
        else:
            in_a_row += 1
        finally:
            testcapi.remove_mem_hooks()
            gc.enable()
        assert result is None or result == want
        n += 1
    assert failed > 0
