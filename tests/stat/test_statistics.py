# SPDX-License-Identifier: MIT
"""The statistics of the real core: are the estimates unbiased, and do the intervals hold?

simulate.c plays nine programs a thousand times each, with other random numbers each time; its seeds are fixed, so
every run of these tests sees the same figures. The simulator is taken from MPROF_SIMULATE, or compiled with cc.

THRESHOLDS  Means over 1,000 seeds are compared with the truth in units of their standard error. It is not estimated but
            known: simulate.c works out the variance of every figure. Chance alone takes a mean further away than 3
            standard errors in 1 of 370 comparisons, than 4 in 1 of 16,000. A test makes up to 72 comparisons, one a
            group, so it allows two of them beyond 3 and none beyond 4; with other seeds a correct core would fail one
            of the seven tests in about 4 of 100 cases. As a guard against a bias too small to show in any one group,
            the squares of all deviations are added up as well: the sum must be right to within 4 of its own standard
            errors.

            All of this is for figures whose mean over the seeds is nearly normal. It is not where the outcome hangs on
            a few rare events (one block of 64 bytes is sampled in 12 of 100,000 runs). The measure is the excess
            kurtosis of the mean, which is known, too.
"""

from __future__ import annotations

import csv
import math
import os
import subprocess
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest
from model import load_intervals

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = 1000
# Enough effective samples for the normal interval to hold.
MANY = 30.0

intervals = load_intervals()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> str:
    built = os.environ.get("MPROF_SIMULATE")
    if built:
        return built
    program = str(tmp_path_factory.mktemp("simulate") / "simulate")
    sources = sorted(str(path) for part in ("base", "core") for path in (ROOT / "src" / part).glob("*.c"))
    command = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-DNDEBUG"]
    command += [f"-I{ROOT / 'src'}", f"-I{ROOT / 'tests' / 'c'}", str(ROOT / "tests" / "stat" / "simulate.c"), *sources]
    command += ["-o", program, "-lpthread", "-lm"]
    subprocess.run(command, check=True)
    return program


def lines(simulator: str, *arguments: str) -> Iterator[List[str]]:
    """What the simulator prints, line by line, without the heading."""
    output = subprocess.run([simulator, *arguments], check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    rows = csv.reader(output.splitlines())
    next(rows)
    return rows


class Truth(NamedTuple):
    """Of one figure over all seeds."""

    mean: float
    variance: float
    cumulant: float  # the fourth


class Session(NamedTuple):
    """What one seed says of one group."""

    samples: int
    seen: float
    bytes: float
    blocks: float
    bytes_var: float
    blocks_var: float
    allocated: float
    pooled_weight: float  # of the whole profile


class Group(NamedTuple):
    """One group of one program: the truth and all sessions."""

    name: str
    rate: float
    truth: Dict[str, Truth]
    sessions: List[Session]


@pytest.fixture(scope="module")
def groups(simulator: str) -> List[Group]:
    found: Dict[Tuple[str, str, str], Group] = {}
    for program, rate, group, figure, mean, variance, cumulant in lines(simulator, "truth"):
        name = f"{program}, R = {int(rate) >> 10} KiB, group {group}"
        at = found.setdefault((program, rate, group), Group(name, float(rate), {}, []))
        at.truth[figure] = Truth(float(mean), float(variance), float(cumulant))
    profile: List[Tuple[Group, List[float]]] = []
    for row in lines(simulator, "groups", str(SEEDS)):
        program, rate, _, group = row[:4]
        if group == "0":
            add_profile(profile)
            profile = []
        profile.append((found[program, rate, group], [float(x) for x in row[4:]]))
    add_profile(profile)
    assert len(found) == 9 * 8
    assert all(len(group.sessions) == SEEDS for group in found.values())
    return list(found.values())


def add_profile(profile: List[Tuple[Group, List[float]]]) -> None:
    """Add the sessions of one profile, which share the pooled weight."""
    samples = sum(int(figures[0]) for _, figures in profile)
    blocks = math.fsum(figures[3] for _, figures in profile)
    variance = math.fsum(figures[5] for _, figures in profile)
    weight = intervals.pooled_weight(blocks, variance, samples)
    for group, (k, seen, estimate, count, bytes_var, blocks_var, allocated) in profile:
        group.sessions.append(Session(int(k), seen, estimate, count, bytes_var, blocks_var, allocated, weight))


def check_deviations(deviations: Dict[str, float], least: int) -> None:
    """See THRESHOLDS."""
    n = len(deviations)
    assert n >= least
    far = {name: z for name, z in deviations.items() if abs(z) > 3.0}
    assert len(far) <= 2, far
    assert all(abs(z) <= 4.0 for z in far.values()), far
    # For normal deviations the sum of the squares has mean n and variance 2 n.
    squares = math.fsum(z * z for z in deviations.values())
    assert abs(squares - n) < 4.0 * math.sqrt(2.0 * n)


def is_normal(truth: Truth) -> bool:
    """Whether the mean over all seeds is nearly normal."""
    return truth.variance > 0.0 and truth.cumulant < 0.5 * SEEDS * truth.variance**2


# The figures, and how many of the 72 groups are fit for comparison (see THRESHOLDS), at least.
FIGURES = (("bytes", 60), ("blocks", 60), ("bytes_var", 60), ("blocks_var", 50), ("allocated", 60))


@pytest.mark.parametrize("figure, least", FIGURES)
def test_figures_are_unbiased(groups: List[Group], figure: str, least: int) -> None:
    """For each figure as many comparisons as there are groups fit for it. The variances are those a profile states."""
    deviations = {}
    for g in groups:
        truth = g.truth[figure]
        if is_normal(truth):
            mean = math.fsum(getattr(s, figure) for s in g.sessions) / SEEDS
            deviations[g.name] = (mean - truth.mean) / math.sqrt(truth.variance / SEEDS)
    check_deviations(deviations, least)


@pytest.mark.parametrize("figure", ["bytes", "blocks"])
def test_errors_are_as_large_as_stated(groups: List[Group], figure: str) -> None:
    """The mean squared error of an estimate is the variance that a profile states on average: 30 groups or more."""
    deviations = {}
    for g in groups:
        truth = g.truth[figure]
        # A square needs a better approximation than the value itself.
        if is_normal(truth) and truth.cumulant < 2.0 * truth.variance**2:
            square = math.fsum((getattr(s, figure) - truth.mean) ** 2 for s in g.sessions) / SEEDS
            spread = (truth.cumulant + 2.0 * truth.variance**2) / SEEDS
            deviations[g.name] = (square - truth.variance) / math.sqrt(spread)
        # What a profile states is, on average, that same variance: test_figures_are_unbiased compares it.
        assert math.isclose(g.truth[f"{figure}_var"].mean, truth.variance, rel_tol=1e-6, abs_tol=1e-6)
    check_deviations(deviations, 30)


def test_what_was_seen_is_certain(groups: List[Group]) -> None:
    for g in groups:
        most_bytes = g.truth["bytes"].mean * (1.0 + 1e-9)
        most_blocks = g.truth["blocks"].mean * (1.0 + 1e-9)
        assert all(s.seen <= most_bytes and s.samples <= most_blocks for s in g.sessions), g.name
        assert all(s.bytes >= s.seen and s.blocks >= s.samples for s in g.sessions), g.name


def bytes_interval(group: Group, s: Session) -> Tuple[float, float]:
    low, high = intervals.size_interval(s.bytes, s.bytes_var, s.samples, s.seen, group.rate, 0.95)
    return float(low), float(high)


def blocks_interval(group: Group, s: Session) -> Tuple[float, float]:
    low, high = intervals.count_interval(s.blocks, s.blocks_var, s.samples, group.rate, s.pooled_weight, 0.95)
    return float(low), float(high)


class Coverage(NamedTuple):
    many: List[float]  # coverage of each group of MANY effective samples or more
    few: List[float]


def coverage(
    groups: List[Group], figure: str, certain: str, interval: Callable[[Group, Session], Tuple[float, float]]
) -> Coverage:
    """How often the interval holds the truth. The class of a group is decided by its expected effective samples."""
    result = Coverage([], [])
    for group in groups:
        truth = group.truth[figure]
        slack = 1e-9 * truth.mean  # the sums are rounded
        held = 0
        for session in group.sessions:
            low, high = interval(group, session)
            held += low - slack <= truth.mean <= high + slack
        inferred = truth.mean - math.fsum(getattr(s, certain) for s in group.sessions) / SEEDS
        many = inferred**2 >= MANY * truth.variance
        (result.many if many else result.few).append(held / SEEDS)
    return result


def check_coverage(found: Coverage) -> None:
    """Each class as a whole as the documentation says; each group within what chance allows.

    One group's coverage from 1,000 seeds has a standard error of 0.7 percentage points, so a single group is held to
    3 of them beyond 94 and 96 %; the mean of a class is held to 94 and 96 % themselves.
    """
    error = math.sqrt(0.95 * 0.05 / SEEDS)
    assert len(found.many) >= 7
    assert len(found.few) >= 24
    assert 0.94 <= math.fsum(found.many) / len(found.many) <= 0.96
    assert all(0.94 - 3.0 * error <= c <= 0.96 + 3.0 * error for c in found.many), sorted(found.many)
    assert math.fsum(found.few) / len(found.few) >= 0.94
    assert all(c >= 0.94 - 3.0 * error for c in found.few), sorted(found.few)


def test_intervals_of_bytes_hold(groups: List[Group]) -> None:
    check_coverage(coverage(groups, "bytes", "seen", bytes_interval))


def test_intervals_of_blocks_hold(groups: List[Group]) -> None:
    narrow = [group for group in groups if not group.name.startswith("wide")]
    check_coverage(coverage(narrow, "blocks", "samples", blocks_interval))


def test_intervals_of_blocks_of_very_different_sizes(groups: List[Group]) -> None:
    """Sizes from 16 to 4096 bytes, all alike.

    The few samples of tiny blocks make up most of the variance, and when one of them is missing, estimate and variance
    are too low together: a 95 % interval holds in 93 % of the cases, not in 95. It must not get worse than that.
    """
    wide = [group for group in groups if group.name.startswith("wide")]
    found = coverage(wide, "blocks", "samples", blocks_interval)
    assert len(found.many) >= 2
    assert all(c >= 0.91 for c in found.many + found.few), (found.many, found.few)


@pytest.mark.parametrize("rate", [512 << 10, 128 << 10])
def test_gaps_are_exponential(simulator: str, rate: int) -> None:
    """Kolmogorov and Smirnov at alpha = 1 %: chance alone exceeds 1.63 / sqrt(n) in 1 of 100 cases."""
    n = 100000
    gaps = sorted(int(row[0]) for row in lines(simulator, "gaps", str(rate), str(n)))
    assert len(gaps) == n
    distance = 0.0
    for i, gap in enumerate(gaps):
        # A gap is rounded down: it is at most `gap` if the exponential variate is below gap + 1.
        below = -math.expm1(-(gap + 1.0) / rate)
        before = -math.expm1(-float(gap) / rate)
        distance = max(distance, (i + 1.0) / n - below, before - float(i) / n)
    assert distance < 1.63 / math.sqrt(n)


@pytest.mark.parametrize("rate", [512 << 10, 128 << 10])
def test_sizes_are_included_with_their_probability(simulator: str, rate: int) -> None:
    """11 sizes: within 4 standard deviations each, which chance alone breaks in 6 of 100,000 cases."""
    rows = [[int(x) for x in row] for row in lines(simulator, "inclusion", str(rate), "6000000")]
    assert len(rows) == 11
    for size, blocks, samples in rows:
        p = -math.expm1(-max(size, 1) / float(rate))
        sigma = math.sqrt(blocks * p * (1.0 - p))
        # Where less than one block is expected to be missed, or sampled, one is no surprise.
        assert abs(samples - blocks * p) <= max(4.0 * sigma, 1.0), (size, blocks, samples, blocks * p, sigma)
