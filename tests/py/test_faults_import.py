# SPDX-License-Identifier: MIT
"""The import of the extension and its first start with Python's memory refused: an error, and the next one succeeds."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import _imp, gc, sys
import _testcapi
from mprofile import _core
gc.disable()
spec = _core.__spec__

def load():
    module = _imp.create_dynamic(spec)
    _imp.exec_dynamic(module)
    return module

def first_start():
    _core.start()
    _core.stop()

def attempts(operate, expected):
    failures = in_a_row = 0
    for n in range(1, 400):
        gc.collect()
        failed = False
        _testcapi.set_nomemory(n, n + 1 if alone else 0)
        try:
            operate()
        except expected:
            failed = True
        finally:
            _testcapi.remove_mem_hooks()
        failures += failed
        in_a_row = 0 if failed else in_a_row + 1
        if in_a_row == 8:
            return failures
    sys.exit("{} fails for ever".format(operate.__name__))

told = []
for alone in (False, True):
    told.append(attempts(load, (MemoryError, SystemError)))
    again = load()
    assert again.Traces is not _core.Traces and len(again._make_traces([(0, 1, (("a.py", 1),))])) == 1
for alone in (False, True):
    in_a_row = 0
    for n in range(1, 100):
        _core._misread_frames(0)
        gc.collect()
        _testcapi.set_nomemory(n, n + 1 if alone else 0)
        try:
            first_start()
            in_a_row += 1
        except (MemoryError, RuntimeError):
            in_a_row = 0
        finally:
            _testcapi.remove_mem_hooks()
        assert not _core.is_tracing()
        _core._misread_frames(0)
        first_start()
        if in_a_row == 8:
            break
    else:
        sys.exit("the first start fails for ever")
print(*told)
"""


# A module whose one function calls PyStructSequence_NewType(), and nothing else, ends 3.13.0 in the same place when
# each request of it is refused: build_indices_unicode() under type_add_members(), a NULL key in the dict of a type.
# Without a GIL 3.13.15 passes this test and that.
@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="PyStructSequence_NewType() itself ends 3.13.0 when it finds no memory"
)
def test_each_request_of_an_import_and_of_a_first_start_is_refused() -> None:
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(int(count) > 10 for count in done.stdout.split())
