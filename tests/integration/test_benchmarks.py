# SPDX-License-Identifier: MIT
"""The benchmarks: programs run under configurations, what fails is told, figures follow from the values."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, List

import pytest

BENCHMARKS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "benchmarks")


@pytest.fixture(scope="module")
def rounds() -> Iterator[Any]:
    sys.path.insert(0, BENCHMARKS)
    try:
        for name in ("bounds", "configurations", "goals", "ratios", "tables"):
            importlib.import_module("rounds." + name)
        yield importlib.import_module("rounds")
    finally:
        sys.path.remove(BENCHMARKS)


def record(program: str, configuration: str, number: int, value: float, status: int = 0) -> Any:
    return {"program": program, "configuration": configuration, "round": number, "status": status,
            "error": "exit status 3; broken" if status else "", "values": [] if status else [value], "extra": {},
            "rss": int(value * 2**20), "wall": 1.0}  # fmt: skip


@pytest.mark.tool("cc")
def test_programs_run_under_configurations(tmp_path: Path) -> None:
    """One round: values and a peak for each; the profiler was on where it should be, and only there."""
    out = str(tmp_path / "results.json")
    command = [sys.executable, os.path.join(BENCHMARKS, "run.py"), "growth", "--only", "live 100000", "--rounds", "1",
               "--configurations", "none,empty,mprofile:0:8,mprofile:524288:8,tracemalloc:1", "--quick", "--json", out,
               "--venvs", str(tmp_path / "venvs")]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with open(out) as file:
        records = json.load(file)["results"][0]["records"]
    assert {one["configuration"] for one in records if one["status"] == 0} == {
        "none", "empty", "mprofile:0:8", "mprofile:524288:8", "tracemalloc:1"
    }, records  # fmt: skip
    memory = {one["configuration"]: one["extra"].get("memory") for one in records}
    assert memory["none"] is None and memory["empty"] is None
    assert memory["tracemalloc:1"] > 10_000 and memory["mprofile:0:8"] > memory["mprofile:524288:8"]
    assert all(one["rss"] > 2**20 and one["values"][0] > 0 for one in records)
    assert "| live objects | 100,000 | mprofile, exact, 8 frames |" in done.stdout


def test_what_cannot_start_is_told(tmp_path: Path) -> None:
    """An interpreter would go on without the profiler, and its time would pass for the profiler's."""
    variables = dict(os.environ, PYTHONPATH=os.path.join(BENCHMARKS, "start"), MPROFILE_BENCH_REPORT=str(tmp_path),
                     MPROFILE_BENCH_CONFIGURATION="tracemalloc:0")  # fmt: skip
    command = [sys.executable, "-c", "print(1)"]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 97 and done.stdout == b"" and b"cannot start tracemalloc:0" in done.stderr


def test_ratios_are_of_one_round(rounds: Any) -> None:
    """A round in which the machine was ten times slower changes nothing."""
    records: List[Any] = []
    for number, slow in enumerate((1.0, 10.0, 1.0)):
        records += [record("a", "none", number, 2 * slow), record("a", "empty", number, 3 * slow)]
    assert rounds.ratios.ratios(records, "a", "empty") == [1.5, 1.5, 1.5]
    assert rounds.ratios.spread([1, 2, 3, 4, 50]) == (2, 3, 4)


def test_failures_are_counted(rounds: Any) -> None:
    names = ["none", "empty", "fil"]
    records = [record("a", "none", 0, 1.0), record("a", "empty", 0, 2.0), record("a", "fil", 0, 0.0, 3),
               record("b", "none", 0, 1.0), record("b", "empty", 0, 8.0), record("b", "fil", 0, 4.0)]  # fmt: skip
    result = {"suite": "overhead", "configurations": names, "missing": {"c": "exit status 1; no c"}, "records": records}
    lines = rounds.tables.of(result)
    assert "| empty hooks | 2 | 0 | 4.000 | 8.000 | 8.000 (b) | 4.000 | 8.000 | 8.000 (b) |" in lines
    assert "| filprofiler | 1 | 1 | 4.000 | 4.000 | 4.000 (b) | 4.000 | 4.000 | 4.000 (b) |" in lines
    assert "- c: exit status 1; no c" in lines and "- filprofiler, a: exit status 3; broken" in lines


@pytest.mark.parametrize("name", ["mprofile", "mprofile:1", "mprofile:1:x", "memray:1", "nothing", "none:1"])
def test_names_of_configurations(rounds: Any, name: str) -> None:
    with pytest.raises(ValueError, match="no configuration '{}'".format(name)):
        rounds.configurations.parse(name)


def test_a_bound_is_held_or_missed(rounds: Any) -> None:
    limit = "mprofile:524288:128"
    for value, expected in ((1.05, True), (1.2, False)):
        records = [record("object_loop", "none", 0, 1.0), record("object_loop", limit, 0, value)]
        rows = rounds.bounds.rows(records)
        assert [row["held"] for row in rows] == [expected] and rows[0]["median"] == pytest.approx(value)


def test_a_goal_beside_empty_hooks(rounds: Any) -> None:
    """Where empty hooks alone are above a bound, a hundredth more than these is allowed."""
    names = ["none", "empty", "mprofile:524288:128"]
    for empty, mine, verdict in ((1.0, 1.005, "held"), (1.0, 1.02, "**missed**"), (1.05, 1.055, "held"),
                                 (1.05, 1.07, "**missed**")):  # fmt: skip
        records = [record("a", name, 0, value) for name, value in zip(names, (1.0, empty, mine))]
        result = {"suite": "overhead", "configurations": names, "missing": {}, "records": records}
        figures = "{:.3f} | {:.3f} | <= 1.01 | {}".format(mine, empty, verdict)
        assert "| mprofile, 512 KiB: time, geometric mean | {} |".format(figures) in rounds.goals.table(result)
    assert rounds.goals.table({"configurations": ["none", "empty"], "records": records}) == []
