# SPDX-License-Identifier: MIT
"""`mprofile merge` and Profile.merge."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import Any, List

import pytest
from recorded import MIB, execute

from mprofile import _core
from mprofile.profile import Profile


def write_profile(path: pathlib.Path, rate: int, size: int) -> Profile:
    done = execute(
        path.parent,
        """
        import mprofile
        def keep(size):
            return [bytearray(5000) for _ in range(size // 5000)]
        mprofile.start(sample_rate={})
        kept = keep({})
        mprofile.take_snapshot().write_pprof({!r})
        """.format(rate, size, str(path)),
    )
    assert done.returncode == 0, done.stderr
    return Profile.read(str(path))


def merge(directory: pathlib.Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mprofile", "merge", *words],
        cwd=str(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )


def figures(profile: Profile) -> List[float]:
    return [
        value
        for measure in profile.totals()
        for value in (measure.bytes, measure.blocks, measure.bytes_var, measure.samples)
    ]


@pytest.mark.parametrize("rates", [(0, 0), (8192, 8192), (8192, 65536), (0, 8192)])
def test_merge_adds(tmp_path: pathlib.Path, rates: Any) -> None:
    one = write_profile(tmp_path / "one.pb.gz", rates[0], 4 * MIB)
    two = write_profile(tmp_path / "two.pb.gz", rates[1], 8 * MIB)
    done = merge(tmp_path, "one.pb.gz", "two.pb.gz", "-o", "sum.pb.gz")
    assert (done.returncode, done.stderr) == (0, "")
    both = Profile.read(str(tmp_path / "sum.pb.gz"))
    # Standard errors and whole numbers are what the file holds.
    assert figures(both) == pytest.approx([a + b for a, b in zip(figures(one), figures(two))], rel=1e-3, abs=2)
    assert both.meta["sample_rate"] == max(1, *rates)
    assert "mprofile: merged=2 profiles" in both.comments

    def keeps(profile: Profile) -> float:
        return sum(row.cumulative.inuse.bytes for row in profile.rows("function") if row.name == "keep")

    assert keeps(both) == pytest.approx(keeps(one) + keeps(two), rel=1e-6, abs=2)
    low, high = both.totals().inuse.bytes_interval(0.999999)
    assert low < 12 * MIB < high or (rates == (0, 0) and low == high > 12 * MIB * 0.99)
    # Merging the merged again loses nothing: the rates of the records are in the file.
    again = Profile.merge([both, one])
    assert again.totals().inuse.bytes == pytest.approx(both.totals().inuse.bytes + one.totals().inuse.bytes, abs=2)


def test_merge_in_code(tmp_path: pathlib.Path) -> None:
    one = write_profile(tmp_path / "one.pb.gz", 8192, 4 * MIB)
    single = Profile.merge([one])
    assert figures(single) == figures(one)
    assert single.comments == one.comments
    many = Profile.merge([one] * 10)
    assert figures(many) == pytest.approx([10 * value for value in figures(one)])
    assert len(many.rows("stack")) == len(one.rows("stack"))
    with pytest.raises(ValueError, match="nothing to merge"):
        Profile.merge([])
    with pytest.raises(TypeError, match="Traces"):
        _core._merge_traces([one])  # type: ignore[list-item]


@pytest.mark.tool("go")
def test_go_reads_what_was_merged(tmp_path: pathlib.Path) -> None:
    write_profile(tmp_path / "one.pb.gz", 8192, 4 * MIB)
    write_profile(tmp_path / "two.pb.gz", 65536, 8 * MIB)
    merge(tmp_path, "one.pb.gz", "two.pb.gz", "-o", "sum.pb.gz")
    top = subprocess.run(
        ["go", "tool", "pprof", "-top", "-unit=B", str(tmp_path / "sum.pb.gz")],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        timeout=600,  # Go may have to compile its pprof
        check=True,
    )
    total = re.search(r"of (\d+)B total", top.stdout)
    assert total is not None
    expected = Profile.read(str(tmp_path / "sum.pb.gz")).totals().inuse.bytes
    assert int(total.group(1)) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    "words, parts",
    [
        (["one.pb.gz"], ["-o"]),
        (["-o", "sum.pb.gz"], ["FILE"]),
        (["missing.pb.gz", "-o", "sum.pb.gz"], ["'missing.pb.gz'", "No such file"]),
        (["text", "-o", "sum.pb.gz"], ["text", "pprof heap profile"]),
        (["one.pb.gz", "-o", "missing/sum.pb.gz"], ["missing/sum.pb.gz", "OUT"]),
    ],
)
def test_merge_errors(tmp_path: pathlib.Path, words: List[str], parts: List[str]) -> None:
    (tmp_path / "text").write_text("not a profile")
    if "one.pb.gz" in words:
        write_profile(tmp_path / "one.pb.gz", 8192, MIB)
    done = merge(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
    assert not (tmp_path / "sum.pb.gz").exists()
