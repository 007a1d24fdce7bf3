# SPDX-License-Identifier: MIT
"""`mprofile diff`: what changed, in the order of what is certain about it."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import re
import subprocess
from typing import Any, Dict, List

import pytest
from processes import run_mprofile
from reports_made import trace

import mprofile
from mprofile import intervals
from mprofile.profile import Profile
from mprofile.reports import difference, table

A = ("/srv/app/a.py", 1)
B = ("/srv/app/b.py", 2)
C = ("/srv/app/c.py", 3)


def made(path: pathlib.Path, traces: Any) -> str:
    profile = Profile.from_snapshot(mprofile.Snapshot(traces, 128))
    profile.write(str(path), comments=["mprofile: command=app.py", "mprofile: directory=/srv/app"])
    return str(path)


def diff(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return run_mprofile("diff", *words, **options)


@pytest.fixture()
def exact(tmp_path: pathlib.Path) -> List[str]:
    old = made(tmp_path / "old.pb.gz", [trace(4096, B, A), trace(1024, A), trace(100, C)])
    new = made(tmp_path / "new.pb.gz", [trace(1024, B, A), trace(3072, A), trace(1024, A), trace(100, C)])
    return [old, new]


def sections(text: str) -> Dict[str, List[List[str]]]:
    """The cells of the rows that grew and that shrank."""
    found: Dict[str, List[List[str]]] = {"grew": [], "shrank": []}
    word = ""
    for line in text.splitlines():
        if line in found:
            word = line
        elif word and line.startswith("  "):
            cells = re.split(r" {2,}", line.strip())
            if cells[0] not in ("change", "certain"):
                found[word].append(cells)
    return found


# ---- exact profiles ----


def test_exact(exact: List[str]) -> None:
    done = diff("--by", "line", *exact)
    assert (done.returncode, done.stderr) == (0, "")
    assert sections(done.stdout) == {
        "grew": [["+3.0 KiB", "1.0 KiB", "4.0 KiB", "a.py:1"]],
        "shrank": [["-3.0 KiB", "4.0 KiB", "1.0 KiB", "b.py:2"]],
    }
    assert "\ntotal      5.1 KiB -> 5.1 KiB: 0 B\n" in done.stdout
    assert "exact" in done.stdout
    assert "~" not in done.stdout


def test_cumulative_and_selection(exact: List[str]) -> None:
    cumulative = sections(diff("--by", "line", "--cum", *exact).stdout)
    assert cumulative == {"grew": [["nothing"]], "shrank": [["-3.0 KiB", "4.0 KiB", "1.0 KiB", "b.py:2"]]}
    focused = diff("--by", "line", "--focus", "b.py", *exact).stdout
    assert sections(focused)["grew"] == [["nothing"]]
    assert "total      4.0 KiB -> 1.0 KiB: -3.0 KiB\n" in focused


def test_blocks(exact: List[str]) -> None:
    assert sections(diff("--by", "line", "--metric", "count", *exact).stdout) == {
        "grew": [["+1", "1", "2", "a.py:1"]],
        "shrank": [["nothing"]],
    }


def test_at_least(tmp_path: pathlib.Path) -> None:
    old = made(tmp_path / "old.pb.gz", [trace(3000, A), trace(100, C)])
    new = made(tmp_path / "new.pb.gz", [trace(5048, B), trace(200, C)])
    told = json.loads(diff("--json", "--by", "line", "--at-least", "2K", old, new).stdout)
    assert [row["change"] for row in told["rows"]] == [5048, -3000]
    assert diff("--at-least", "2K", "--metric", "count", old, new).returncode == 2


def test_stacks(exact: List[str]) -> None:
    text = diff("--by", "stack", *exact).stdout
    assert "\n  -3.0 KiB, 4.0 KiB -> 1.0 KiB\n    a.py:1\n    b.py:2\n" in text


def test_limit(tmp_path: pathlib.Path) -> None:
    files = [("/srv/app/{}.py".format(number), 1) for number in range(10)]
    old = made(tmp_path / "old.pb.gz", [])
    new = made(tmp_path / "new.pb.gz", [trace(1024 * (1 + i), file) for i, file in enumerate(files)])
    text = diff("--by", "line", "--limit", "3", old, new).stdout
    assert [row[-1] for row in sections(text)["grew"][:3]] == ["9.py:1", "8.py:1", "7.py:1"]
    assert "  7 more with +28.0 KiB\n" in text
    assert len(json.loads(diff("--json", "--by", "line", old, new).stdout)["rows"]) == 10
    assert len(json.loads(diff("--json", "--by", "line", "--limit", "4", old, new).stdout)["rows"]) == 4


def test_functions_that_moved(tmp_path: pathlib.Path) -> None:
    """An edited file: the function begins three lines below, and is the same."""
    paths = []
    for number, before in enumerate(["", "\n\n\n"]):
        names: Any = {}
        exec(
            compile(before + "def grow(n):\n    return [bytearray(1000) for _ in range(n)]\n", "/srv/x.py", "exec"),
            names,
        )
        mprofile.start()
        try:
            kept = names["grow"](10 + 10 * number)
            snapshot = mprofile.take_snapshot()
        finally:
            mprofile.stop()
        assert kept
        paths.append(str(tmp_path / "{}.pb.gz".format(number)))
        snapshot.write_pprof(paths[-1])
    told = json.loads(diff("--json", "--cum", "--focus", "/srv/x.py", *paths).stdout)
    (row,) = [row for row in told["rows"] if row["function"] == "grow"]
    assert row["line"] == 4
    assert 10000 <= row["old"] < 12000
    assert 20000 <= row["new"] < 23000


@pytest.mark.parametrize("by", ["line", "function", "file", "stack"])
def test_two_versions_in_two_directories(tmp_path: pathlib.Path, by: str) -> None:
    """Other directories, another Python: the same files. What is not alike stays apart."""

    def version(number: int, size: int) -> str:
        own = ("/srv/v{}/app/main.py".format(number), 5)
        library = ("/opt/env{}/lib/python3.{}/site-packages/yaml/loader.py".format(number, 10 + number), 7)
        other = ("/somewhere/{}/else.py".format(number), 9)
        traces = [trace(size, own), trace(2 * size, library, own), trace(100, other)]
        path = str(tmp_path / "{}.pb.gz".format(number))
        comments = ["mprofile: directory=/srv/v{}".format(number)]
        Profile.from_snapshot(mprofile.Snapshot(traces, 128)).write(path, comments=comments)
        return path

    told = json.loads(diff("--json", "--by", by, version(1, 1000), version(2, 3000)).stdout)
    assert [(row["old"], row["new"]) for row in told["rows"]] == [(2000, 6000), (1000, 3000), (100, 0), (0, 100)]
    text = diff("--by", by, str(tmp_path / "1.pb.gz"), str(tmp_path / "2.pb.gz")).stdout
    assert "app/main.py" in text
    assert "/srv/v" not in text


# ---- sampled profiles ----


def recorded(path: pathlib.Path, grown: int, small: int, seed: int) -> str:
    mprofile.start(sample_rate=4096, max_frames=16, seed=seed)
    try:
        kept = [bytearray(1000) for _ in range(grown)]
        other = [bytearray(900) for _ in range(small)]
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    assert len(kept) + len(other) == grown + small
    snapshot.write_pprof(str(path))
    return str(path)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> List[str]:
    directory = tmp_path_factory.mktemp("sampled")
    return [recorded(directory / "old.pb.gz", 1000, 500, 1), recorded(directory / "new.pb.gz", 4000, 500, 2)]


def test_order_is_by_what_is_certain(sampled: List[str]) -> None:
    told = json.loads(diff("--json", "--by", "line", *sampled).stdout)
    certain = [abs(row["certain"]) for row in told["rows"]]
    assert certain == sorted(certain, reverse=True)
    for row in [*told["rows"], told["total"]]:
        assert row["low"] <= row["change"] <= row["high"]
        assert row["may_be_noise"] == (row["low"] <= 0 <= row["high"])
        ends = sorted((row["low"], row["high"]), key=abs)
        assert row["certain"] == (0 if row["may_be_noise"] else ends[0])
    # 3,000 blocks of 1,000 bytes more. One in a million of such intervals at this width would not find a growth.
    assert told["total"]["certain"] > 1_000_000
    assert told["rows"][0]["certain"] > 1_000_000
    assert told["one_recording"] is False


def test_marks_and_legend(sampled: List[str]) -> None:
    text = diff("--by", "line", *sampled).stdout
    assert "~ may be noise" in text
    assert "errors of both add up" in text
    top = sections(text)["grew"][0]
    assert top[0].startswith("+")
    assert re.match(r"\+\d+\.\d\.\.\+\d+\.\d [KM]iB\Z", top[2])
    same = diff("--by", "line", sampled[0], sampled[0]).stdout
    assert sections(same) == {"grew": [["nothing"]], "shrank": [["nothing"]]}


def test_noise_is_marked_not_hidden(tmp_path: pathlib.Path) -> None:
    """Two recordings of the same thing: rows differ by chance, and stay."""
    old, new = recorded(tmp_path / "a.pb.gz", 500, 500, 3), recorded(tmp_path / "b.pb.gz", 500, 500, 4)
    found = difference.changes(difference.Comparison(Profile.read(old), Profile.read(new), "line"))
    noisy = [one for one in found if one.noise]
    assert noisy
    assert all(one.certain == 0 for one in noisy)
    marked = [
        row for rows in sections(diff("--by", "line", "--limit", "999", old, new).stdout).values() for row in rows
    ]
    assert len([row for row in marked if row[0] == "~"]) == len(noisy)


def test_variances_add(sampled: List[str]) -> None:
    """The interval is the one that the sum of both variances gives."""
    old, new = Profile.read(sampled[0]), Profile.read(sampled[1])
    (before, after) = (old.totals().inuse, new.totals().inuse)
    whole = json.loads(diff("--json", *sampled).stdout)["total"]
    low, high = intervals.difference_interval(
        after.bytes - before.bytes, before.bytes_var + after.bytes_var, before.samples + after.samples, 4096.0
    )
    assert (whole["low"], whole["high"]) == (round(low), round(high))


def test_what_one_recording_allocated_cancels(tmp_path: pathlib.Path) -> None:
    mprofile.start(sample_rate=4096)
    try:
        kept = [bytearray(1000) for _ in range(3000)]
        mprofile.take_snapshot().write_pprof(str(tmp_path / "old.pb.gz"))
        kept += [bytearray(1000) for _ in range(100)]
        mprofile.take_snapshot().write_pprof(str(tmp_path / "new.pb.gz"))
    finally:
        mprofile.stop()
    assert len(kept) == 3100
    paths = [str(tmp_path / "old.pb.gz"), str(tmp_path / "new.pb.gz")]
    allocated = json.loads(diff("--json", "--metric", "allocated", *paths).stdout)
    inuse = json.loads(diff("--json", *paths).stdout)
    assert (allocated["one_recording"], inuse["one_recording"]) == (True, False)
    widths = [one["total"]["high"] - one["total"]["low"] for one in (allocated, inuse)]
    assert widths[0] < widths[1] / 2
    assert "cancels" in diff("--metric", "allocated", *paths).stdout


def test_exact_against_sampled(exact: List[str], sampled: List[str]) -> None:
    told = json.loads(diff("--json", "--by", "line", exact[0], sampled[0]).stdout)
    gone = next(row for row in told["rows"] if row["file"] == A[0])
    # No sample at 4 KiB: up to 3 times that may be there.
    assert (gone["old"], gone["new"], gone["may_be_noise"]) == (1024, 0, True)
    assert gone["high"] - gone["low"] == pytest.approx(2 * 2.9957 * 4096, rel=0.01)


@pytest.mark.parametrize("by", table.BY)
@pytest.mark.parametrize("metric", list(table.SORTS))
def test_every_view(sampled: List[str], by: str, metric: str) -> None:
    for form in ([], ["--json"], ["--csv"]):
        done = diff("--by", by, "--metric", metric, *form, *sampled)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


def test_csv(exact: List[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(diff("--csv", "--by", "line", *exact).stdout)))
    assert [(row["file"], row["change_bytes"], row["may_be_noise"]) for row in rows] == [
        (A[0], "3072", "0"),
        (B[0], "-3072", "0"),
    ]


# ---- input ----


def test_standard_input(exact: List[str]) -> None:
    with open(exact[0], "rb") as file:
        assert diff("-", exact[1], stdin=file).stdout == diff(*exact).stdout


@pytest.mark.parametrize(
    "words, parts",
    [
        (["old.pb.gz"], ["NEW"]),
        (["-", "-"], ["standard input"]),
        (["missing", "old.pb.gz"], ["'missing'", "No such file"]),
        (["old.pb.gz", "text"], ["text", "pprof"]),
        (["--metric", "size", "old.pb.gz", "old.pb.gz"], ["'size'", "inuse"]),
    ],
)
def test_bad_input(tmp_path: pathlib.Path, words: List[str], parts: List[str]) -> None:
    made(tmp_path / "old.pb.gz", [])
    (tmp_path / "text").write_text("not a profile\n")
    done = diff(*words, cwd=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    for part in parts:
        assert part in done.stderr


def test_help_has_an_example() -> None:
    assert "mprofile diff before.pb.gz after.pb.gz" in diff("--help").stdout
