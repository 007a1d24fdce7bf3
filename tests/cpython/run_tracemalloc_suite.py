# SPDX-License-Identifier: MIT
"""Runs classes of CPython's own test_tracemalloc.py against mprofile, unchanged.

    python run_tracemalloc_suite.py CLASS ...

The interpreter's test file is loaded with `tracemalloc` being mprofile. The status is that of unittest: 0 if all tests
passed, 1 if not; 77 if this interpreter has no such file (distributions often leave the package `test` out).
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import types
import unittest
from typing import Callable, Dict, Iterator

NO_SUITE = 77

# Tests that cannot pass, and why. Everything else must.
IMPOSSIBLE: Dict[str, str] = {}
if sys.version_info < (3, 13):
    IMPOSSIBLE["test_new_reference"] = (
        "an object from a free list is allocated by nobody; hooks for its creation exist since Python 3.13"
    )


def load_suite() -> types.ModuleType:
    """The interpreter's test_tracemalloc as a module. ImportError if it is not there."""
    import mprofile

    sys.modules["tracemalloc"] = mprofile
    spec = importlib.util.find_spec("test.test_tracemalloc")
    if spec is None or spec.loader is None:
        raise ImportError("no test.test_tracemalloc")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_of(item)
        else:
            yield item


def run_below(depth: int, run: Callable[[], unittest.TestResult]) -> unittest.TestResult:
    """Call `run` with that many frames more on the stack: test_snapshot wants any trace to have more than ten frames,
    as under CPython's own runner."""
    return run_below(depth - 1, run) if depth else run()


def main() -> int:
    try:
        module = load_suite()
    except ImportError as error:
        print("this interpreter has no test.test_tracemalloc:", error)
        return NO_SUITE
    chosen = unittest.TestSuite()
    for name in sys.argv[1:]:
        for test in tests_of(unittest.defaultTestLoader.loadTestsFromName(name, module)):
            method = test.id().rpartition(".")[2]
            if method in IMPOSSIBLE:
                print("left out {}: {}".format(method, IMPOSSIBLE[method]))
            else:
                chosen.addTest(test)
    os.chdir(tempfile.mkdtemp(prefix="mprofile-suite-"))  # the tests write files where they are
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2)
    result = run_below(10, lambda: runner.run(chosen))
    print("ran", result.testsRun, "skipped", len(result.skipped))
    return 0 if result.wasSuccessful() and result.testsRun > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
