# SPDX-License-Identifier: MIT
"""The instructions of an allocation through our hooks, against the budget in benchmarks/instructions/budget.json."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MEASURE = os.path.join(ROOT, "benchmarks", "instructions", "measure.py")


@pytest.fixture(scope="module")
def measure() -> Any:
    spec = importlib.util.spec_from_file_location("measure", MEASURE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.tool("valgrind", "cc")
def test_budget_of_instructions_holds(measure: Any) -> None:
    if measure.read_budget(measure.BUDGET) is None:
        pytest.skip("no budget for CPython {}".format(measure.version()))
    command = [sys.executable, MEASURE]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=300
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout


def test_what_exceeds_a_budget(measure: Any) -> None:
    """More than the tolerance, an operation without a budget, a budget without an operation; nothing else."""
    budget = measure.Budget("gcc 12", {"free": 10, "malloc": 20, "realloc": 30, "calloc": 40})
    figures = {
        "free": measure.Figure(10, 10),
        "malloc": measure.Figure(20.3, 20),
        "realloc": measure.Figure(31, 30),
        "memalign": measure.Figure(1, 1),
    }
    assert measure.exceeded(figures, budget, "gcc 12") == ["realloc", "calloc", "memalign"]
    assert measure.exceeded(figures, budget, "clang 14") == ["calloc", "memalign"]
    figures["realloc"] = measure.Figure(43, 30)
    assert measure.exceeded(figures, budget, "clang 14") == ["realloc", "calloc", "memalign"]
