# SPDX-License-Identifier: MIT
"""Go's pprof tool reads our profiles and finds the figures that we find."""

from __future__ import annotations

import pathlib
import re
import subprocess
from typing import Dict, List, Tuple

import pytest
from processes import MPROFILE
from programs import go_pprof

import mprofile
from mprofile.profile import Figures, Profile

pytestmark = pytest.mark.tool("go")


def top(path: str, sample_index: str, *options: str) -> Tuple[int, Dict[str, Tuple[int, int]]]:
    """The total and (flat, cum) by function, in bytes or blocks."""
    unit = ["-unit=B"] if sample_index.endswith("space") else []
    words = ["-top", "-sample_index=" + sample_index, "-nodefraction=0", "-nodecount=100000", *unit, *options]
    text = go_pprof(*words, path)
    total = re.search(r"of (\d+)B? total", text)
    assert total is not None, text
    rows = {}
    for line in text.splitlines():
        match = re.match(r"\s*(\d+)B?\s+\S+%\s+\S+%\s+(\d+)B?\s+\S+%\s+(.*?)(?: \(inline\))?$", line)
        if match is not None:
            rows[match.group(3)] = (int(match.group(1)), int(match.group(2)))
    return int(total.group(1)), rows


def leaf(count: int) -> List[bytearray]:
    return [bytearray(700) for _ in range(count)]


def recursive(depth: int, count: int) -> List[bytearray]:
    return recursive(depth - 1, count) if depth else leaf(count)


def big() -> bytearray:
    return bytearray(3 << 20)


@pytest.fixture(params=[0, 4096, 131072])
def path(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    mprofile.start(sample_rate=request.param)
    try:
        kept = [leaf(3000), recursive(5, 2000), [big()]]
        leaf(1000)
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    assert len(kept) == 3
    result = str(tmp_path / "heap.pb.gz")
    snapshot.write_pprof(result)
    return result


@pytest.mark.parametrize("sample_index", ["inuse_space", "inuse_objects", "alloc_space", "alloc_objects"])
def test_totals_and_functions(path: str, sample_index: str) -> None:
    profile = Profile.read(path)

    def value(figures: Figures) -> float:
        return figures.bytes if sample_index.endswith("space") else figures.blocks

    measure = "inuse" if sample_index.startswith("inuse") else "allocated"
    total, functions = top(path, sample_index)
    assert total == pytest.approx(value(getattr(profile.totals(), measure)), rel=1e-6, abs=1)
    for name in ("leaf", "recursive", "big"):
        # Before 3.12 a comprehension is a function of its own, qualified by its owner's name from 3.11 on.
        rows = [row for row in profile.rows("function") if row.name == name]
        assert len(rows) == 1
        flat, cumulative = functions[name]
        assert flat == pytest.approx(value(getattr(rows[0].flat, measure)), rel=1e-6, abs=2)
        assert cumulative == pytest.approx(value(getattr(rows[0].cumulative, measure)), rel=1e-6, abs=2)


def test_lines_and_files(path: str) -> None:
    text = go_pprof("-raw", path)
    first = big.__code__.co_firstlineno
    assert re.search(r"\bbig {}:{}(:0)? s={}".format(re.escape(__file__), first + 1, first), text)
    assert re.search(r"^PeriodType: space bytes$", text, re.MULTILINE)


def test_default_is_memory_in_use(path: str) -> None:
    assert "Type: inuse_space" in go_pprof("-top", path)


def test_difference_with_itself_is_nothing(path: str) -> None:
    total, functions = top(path, "inuse_space", "-diff_base=" + path)
    assert all(flat == 0 for flat, _ in functions.values())
    assert total > 0


def test_block_sizes_are_labels(path: str) -> None:
    _, functions = top(path, "inuse_space", "-tagfocus=2mb:")
    assert [name for name, (flat, _) in functions.items() if flat] == ["big"]
    # A bytearray has one byte more than asked for.
    assert functions["big"][0] == pytest.approx(3 << 20, abs=2)


def test_report_shows_the_same_total(path: str) -> None:
    done = subprocess.run(
        [MPROFILE, "report", path],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
        check=True,
    )
    shown = re.search(r"^in use +(\d+\.\d) MiB", done.stdout, re.MULTILINE)
    assert shown is not None
    assert float(shown.group(1)) == pytest.approx(top(path, "inuse_space")[0] / 1024**2, abs=0.051)
