# SPDX-License-Identifier: MIT
"""`mprofile leaks`: its statistics on made-up series, its two reports, its arguments."""

from __future__ import annotations

import gzip
import math
import pathlib
import random
import re
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Sequence

import pytest
from pprof_maker import field
from processes import run_mprofile

import mprofile
from mprofile.profile import Profile
from mprofile.reports import growth, leaks
from mprofile.reports.growth import Amount, Moment
from mprofile.reports.styled import plain


def run(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return run_mprofile("leaks", *words, **options)


# ---- Student's t ----


@pytest.mark.parametrize(
    ("p", "freedom", "quantile"),
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 5, 2.571), (0.975, 30, 2.042), (0.9995, 8, 5.041)],
)
def test_student_quantiles_of_the_tables(p: float, freedom: int, quantile: float) -> None:
    assert growth.student_quantile(p, freedom) == pytest.approx(quantile, abs=5e-4)


# ---- trends ----


def moments(**series: Sequence[float]) -> List[Moment]:
    """A moment a minute of an exact profile, with these bytes in use by line."""
    count = len(next(iter(series.values())))
    result = []
    for i in range(count):
        amounts: Dict[growth.Key, Amount] = {
            (name,): Amount(values[i], 0.0, 1, values[i], 0.0) for name, values in series.items()
        }
        result.append(Moment(60.0 * i, 0.0, 1.0, amounts))
    return result


def verdicts(**series: Sequence[float]) -> Dict[str, str]:
    return {str(item.key[0]): item.verdict for item in growth.analyse(moments(**series))}


def test_steady_growth_is_suspected() -> None:
    (item,) = growth.analyse(moments(line=[1000.0 * i for i in range(13)]))
    assert item.verdict == "suspect"
    assert (item.grew, item.intervals) == (8, 8)
    assert 60 * item.rate == pytest.approx(1000)
    assert 60 * item.low == pytest.approx(1000)
    assert 60 * item.high == pytest.approx(1000)


def test_what_stops_growing_has_settled() -> None:
    full = [1000.0 * min(i, 4) for i in range(13)]
    late = [1000.0 * min(i, 8) for i in range(13)]
    assert verdicts(full=full, late=late) == {"full": "settled", "late": "settled"}


def test_churn_and_single_steps_are_not_accused() -> None:
    draw = random.Random(7)
    churn = [draw.uniform(0, 1e6) for _ in range(13)]
    step = [1000.0] * 10 + [9000.0] * 3
    found = verdicts(churn=churn, step=step, even=[500.0] * 13, shrinks=[1000.0 - i for i in range(13)])
    assert "suspect" not in found.values()
    assert "even" not in found and "shrinks" not in found


def test_growth_under_churn_is_found() -> None:
    draw = random.Random(8)
    (item,) = growth.analyse(moments(line=[1000.0 * i + draw.uniform(0, 300) for i in range(25)]))
    assert item.verdict == "suspect"
    assert 60 * item.low < 1000 < 60 * item.high


def test_interval_covers_the_trend_of_a_random_walk() -> None:
    draw = random.Random(9)
    covered = 0
    for _ in range(400):
        values = [0.0]
        times = [0.0]
        for _ in range(12):
            length = draw.uniform(0.5, 2)
            times.append(times[-1] + length)
            values.append(values[-1] + 3 * length + draw.gauss(0, 5 * math.sqrt(length)))
        low, high = growth.trend(times, values).interval(0.95)
        covered += low < 3 < high
    # Binomial with 400 and 0.95: 380 +- 4.4, four sigmas either side.
    assert 362 <= covered <= 398


def test_random_walks_are_rarely_suspected() -> None:
    draw = random.Random(10)
    series = {}
    for number in range(2000):
        values = [1e6]
        for _ in range(24):
            values.append(values[-1] + draw.gauss(0, 1000))
        series["line%d" % number] = values
    # One in 2000 by the level of 99.9 % (half of it on the side of growth): more than 6 has a probability of 1e-4.
    assert sum(verdict == "suspect" for verdict in verdicts(**series).values()) <= 6


def test_few_moments_use_the_errors_of_the_estimates() -> None:
    def pair(samples: int) -> List[Moment]:
        rate = 1024.0
        variance = samples * rate * rate
        amounts = [Amount(0.0, 0.0, 0, 0.0, 0.0), Amount(samples * rate, variance, samples, samples * rate, variance)]
        return [Moment(60.0 * i, 0.0, rate, {("line",): amount}) for i, amount in enumerate(amounts)]

    assert growth.analyse(pair(3))[0].verdict == ""
    assert growth.analyse(pair(100))[0].verdict == "suspect"
    # What is older than the first profile cancels.
    steady = [Moment(60.0 * i, 0.0, 1024.0, pair(100)[1].amounts) for i in range(2)]
    first, last = steady[0].amounts[("line",)], Amount(120e3, 120 * 1024.0**2, 120, 120e3, 120 * 1024.0**2)
    grown = [steady[0], steady[1]._replace(amounts={("line",): last})]
    (blind,) = growth.analyse(grown)
    (seeing,) = growth.analyse(grown, {("line",): first})
    assert (seeing.high - seeing.low) < 0.5 * (blind.high - blind.low)


def write_series(paths: Sequence[str], work: Callable[[int], None]) -> None:
    """A profile a file, each after some work, of moments that are 20 ms apart however long the work took: of a field
    that is there twice the last one counts."""
    begin = 0
    mprofile.start(sample_rate=0)
    try:
        for number, path in enumerate(paths):
            work(number)
            mprofile.take_snapshot().write_pprof(path)
            begin = begin or Profile.read(path).meta["time_ns"]
            with open(path, "ab") as file:
                file.write(gzip.compress(field(9, begin + number * 20000000)))
    finally:
        mprofile.stop()


def test_what_may_be_growing_is_told_apart_from_what_has_settled(tmp_path: pathlib.Path) -> None:
    kept: List[bytes] = []
    draw = random.Random(11)

    def now_and_then() -> None:
        for _ in range(draw.choice((0, 0, 40))):
            kept.append(bytes(1000))

    def at_first(number: int) -> None:
        if number < 4:
            kept.extend([bytes(5000) for _ in range(10)])

    def both(number: int) -> None:
        now_and_then()
        at_first(number)

    files = [str(tmp_path / "{:02}.pb.gz".format(number)) for number in range(20)]
    write_series(files, both)
    text = run(*files).stdout
    unsure, settled = text.index("not sure: may be growing still"), text.index("settled: grew at first")
    assert unsure < text.index("now_and_then") < settled < text.index("at_first", settled)


def test_small_suspects_are_counted(tmp_path: pathlib.Path) -> None:
    kept: List[bytes] = []

    def much() -> None:
        kept.append(bytes(1000000))

    def little() -> None:
        kept.append(bytes(10))

    def both(_: int) -> None:
        much()
        little()

    files = [str(tmp_path / "{:02}.pb.gz".format(number)) for number in range(12)]
    write_series(files, both)
    done = run(*files)
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert "much\n    grew in" in text
    assert "little" not in text
    assert "more that grew by less than 0.1 % of the heap" in text


# ---- shares ----


def test_share_of_nothing_and_of_what_is_known_exactly() -> None:
    assert growth.share_alive(0, 0, 0, 0) is None
    assert growth.share_alive(30, 0, 120, 0) == growth.Share(0.25, 0.25, 0.25)


def test_share_is_wilsons_for_equal_weights() -> None:
    # 20 of 100 samples: Wilson's 95 % interval is 0.133 to 0.289.
    share = growth.share_alive(20.0, 20.0, 100.0, 100.0)
    assert share is not None
    assert share.value == pytest.approx(0.2)
    assert share.low == pytest.approx(0.133, abs=1e-3)
    assert share.high == pytest.approx(0.289, abs=1e-3)
    # All of 10: 0.722 to 1.
    whole = growth.share_alive(10.0, 10.0, 10.0, 10.0)
    assert whole is not None
    assert (whole.low, whole.high) == (pytest.approx(0.722, abs=1e-3), 1.0)


# ---- profiles ----

KEPT: List[bytes] = []


def keep(count: int) -> None:
    for _ in range(count):
        block = bytes(1000)
        KEPT.append(block)


def drop(count: int) -> None:
    for _ in range(count):
        bytes(1000)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: Any) -> List[str]:
    """Three profiles; in the last one the first 200 blocks of keep() are more than a second old, the others less."""
    directory = tmp_path_factory.mktemp("leaks")
    for _ in range(20):
        files = []
        mprofile.start(sample_rate=0)
        try:
            for number in range(3):
                begin = time.monotonic()
                keep(100)
                drop(1000)
                snapshot = mprofile.take_snapshot()
                took = time.monotonic() - begin
                path = str(directory / "{}.pb.gz".format(number))
                snapshot.write_pprof(path)
                files.append(path)
                time.sleep(1.2 if number == 1 else 0.02)
        finally:
            mprofile.stop()
            KEPT.clear()
        if took < 0.9:
            return files
    raise AssertionError("{} s from the allocations to the snapshot, and no less twenty times".format(took))


def test_survivors_are_told_by_age(recorded: List[str]) -> None:
    done = run("--older-than", "1s", recorded[2])
    assert (done.returncode, done.stderr) == (0, "")
    size = "{:.1f}".format(200 * sys.getsizeof(bytes(1000)) / 1024)
    (line,) = [line for line in done.stdout.splitlines() if "test_cli_leaks.py" in line and size in line]
    assert line.split()[:5] == [size, "KiB", "200", "100", "%"]
    assert " drop" not in done.stdout
    assert re.search(r"(^| )0 B( |$)", done.stdout, re.MULTILINE) is None


def test_survivors_by_stack_show_frames(recorded: List[str]) -> None:
    text = run("--older-than", "1s", "--by", "stack", "--limit", "1", recorded[2]).stdout
    lines = [line.split()[-1] for line in text.splitlines() if "test_cli_leaks.py" in line]
    assert lines[0] == "keep"
    assert "recorded" in lines


def test_nothing_so_old(recorded: List[str]) -> None:
    done = run(recorded[2])
    assert done.returncode == 0
    assert "in use for 60 s or more" in done.stdout or "in use for 1 min or more" in done.stdout
    assert "  nothing\n" in done.stdout
    assert "after profiling began; try --older-than" in done.stdout


def test_age_is_rounded_up_to_what_is_known(recorded: List[str]) -> None:
    assert "in use for 10 s or more" in run("--older-than", "5", recorded[2]).stdout


def test_no_ages_in_the_file(tmp_path: pathlib.Path) -> None:
    frame = (("a.py", 1),)
    trace = (0, 10, frame, 1) if sys.version_info >= (3, 9) else (0, 10, frame)
    path = str(tmp_path / "made.pb.gz")
    Profile.from_snapshot(mprofile.Snapshot([trace], 128)).write(path)
    assert "does not say of any block how old it is" in run(path).stdout


def test_growth_over_files(recorded: List[str]) -> None:
    done = run(*reversed(recorded))  # the order on the command line does not matter
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("  keep"))
    assert lines[at + 1].strip().startswith("grew in 2 of 2 intervals, ")
    assert "/min [" in lines[at + 1]
    assert "So few profiles cannot tell" in done.stdout
    assert not any(line.endswith(" drop") for line in lines[:at])


def test_series_wants_one_recording(recorded: List[str], tmp_path: pathlib.Path) -> None:
    mprofile.start()
    try:
        mprofile.take_snapshot().write_pprof(str(tmp_path / "other.pb.gz"))
    finally:
        mprofile.stop()
    done = run(recorded[0], str(tmp_path / "other.pb.gz"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "of different processes or recordings" in done.stderr
    done = run(recorded[0], recorded[0])
    assert done.returncode == 2
    assert "profiles of one moment show no growth" in done.stderr


def test_directory(recorded: List[str], tmp_path: pathlib.Path) -> None:
    for number, path in enumerate(recorded):
        name = "20260131T2359{:02}.000Z.4711.pb.gz".format(10 + number)
        (tmp_path / name).write_bytes(pathlib.Path(path).read_bytes())
    (tmp_path / "other.txt").write_text("x")
    done = run(str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "profiles   3 over" in done.stdout
    (tmp_path / "20260131T235914.000Z.4711.pb.gz").write_bytes(pathlib.Path(recorded[2]).read_bytes())
    assert "profiles   3 over" in run(str(tmp_path)).stdout  # twice the same moment
    other = "20260131T235910.000Z.4712.pb.gz"
    (tmp_path / other).write_bytes(pathlib.Path(recorded[0]).read_bytes())
    assert "process    4711\n" in run(str(tmp_path)).stdout


def test_spread_takes_the_ends_and_evenly_between() -> None:
    from mprofile.cli.leaks import spread

    files = [(float(second), str(second)) for second in [*range(0, 3600, 60), *range(3600, 3661)]]
    chosen = [int(name) for name in spread(files, 25)]
    assert len(chosen) == 25
    assert (chosen[0], chosen[-1]) == (0, 3660)
    assert max(b - a for a, b in zip(chosen, chosen[1:])) <= 240


# ---- arguments ----


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "FILE"),
        (["missing.pb.gz"], "cannot read 'missing.pb.gz': No such file or directory"),
        (["--older-than", "7h", "x"], "'7h' is not an age above 0 and up to 6h"),
        (["--older-than", "0", "x"], "'0' is not an age"),
        (["--older-than", "soon", "x"], "'soon' is not an age"),
        (["--by", "colour", "x"], "colour"),
        (["--limit", "0", "x"], "'0' is not a whole number of rows"),
        (["missing.pb.gz", "other.pb.gz"], "cannot read 'missing.pb.gz'"),
    ],
)
def test_what_cannot_be_done(words: List[str], part: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert part in done.stderr


def test_damaged_file_and_empty_directory(tmp_path: pathlib.Path) -> None:
    (tmp_path / "damaged.pb.gz").write_bytes(b"\x1f\x8bnonsense")
    done = run(str(tmp_path / "damaged.pb.gz"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "damaged" in done.stderr
    done = run(str(tmp_path))
    assert done.returncode == 2
    assert "holds no two profiles of one process" in done.stderr
    done = run(str(tmp_path), str(tmp_path))
    assert done.returncode == 2
    assert "is a directory; give one DIR, or FILEs" in done.stderr


def test_help_has_examples() -> None:
    text = run("--help").stdout
    assert "mprofile leaks --older-than 10min" in text


def test_rates_and_durations_as_text() -> None:
    item = growth.Growth(("a",), "suspect", 1.2 * 2**20 / 60, 2**20 / 60, 1.4 * 2**20 / 60, 9, 9, 0.0, 1.0)
    assert leaks.rate(item) == "1.2 MiB/min [1.0, 1.4]"
    assert leaks.rate(item._replace(rate=0.0, low=-10 / 60, high=10 / 60)) == "0 B/min [-10, 10]"
    assert [leaks.duration(value) for value in (0.5, 12, 300, 5400)] == ["0.5 s", "12 s", "5 min", "1.5 h"]
    assert plain([[("a", "size"), ("  ", "")]]) == "a\n"
