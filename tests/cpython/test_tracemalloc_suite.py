# SPDX-License-Identifier: MIT
"""CPython's own tests of tracemalloc, run unchanged against mprofile (run_tracemalloc_suite.py)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run_tracemalloc_suite.py")
NO_SUITE = 77

# The other classes of the file need CPython's private test modules or its -X tracemalloc option.
CLASSES = ["TestTracemallocEnabled", "TestSnapshot", "TestFilters"]
if sys.version_info >= (3, 9):
    CLASSES.insert(0, "TestTraceback")


@pytest.mark.parametrize("name", CLASSES)
def test_suite(name: str) -> None:
    result = subprocess.run(
        [sys.executable, RUNNER, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=1200,
    )
    if result.returncode == NO_SUITE:
        pytest.skip(result.stdout.strip())
    print(result.stdout)
    assert result.returncode == 0
