# SPDX-License-Identifier: MIT
"""Tests of mprofile.intervals: known values, bounds, errors, and a short, seeded run of the coverage model."""

from __future__ import annotations

import importlib.util
import math
import random
from pathlib import Path
from types import ModuleType
from typing import Callable, Iterator, Tuple

import pytest

from mprofile import intervals

R = 131072.0
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)


def load_model() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "stat" / "model.py"
    spec = importlib.util.spec_from_file_location("mprofile_stat_model", str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


model = load_model()


class Group:
    """Sums over k blocks of one size."""

    def __init__(self, k: int, size: float, rate: float = R) -> None:
        p = -math.expm1(-size / rate)
        self.k = k
        self.rate = rate
        self.sure = k * size
        self.size = k * size / p
        self.size_variance = k * size * size * (1.0 - p) / (p * p)
        self.blocks = k / p
        self.blocks_variance = k * (1.0 - p) / (p * p)

    def in_bytes(self, level: float = 0.95) -> Tuple[float, float]:
        return intervals.size_interval(self.size, self.size_variance, self.k, self.sure, self.rate, level)

    def in_blocks(self, pooled: float = 0.0, level: float = 0.95) -> Tuple[float, float]:
        return intervals.count_interval(self.blocks, self.blocks_variance, self.k, self.rate, pooled, level)


def mixed_groups(seed: int, number: int) -> Iterator[Group]:
    """Yield groups of 1 to 200 samples with sizes from 1 byte to 16 MiB."""
    rng = random.Random(seed)
    for _ in range(number):
        group = Group(0, 1.0)
        for _ in range(rng.choice((1, 2, 3, 5, 10, 30, 200))):
            one = Group(1, math.floor(2.0 ** rng.uniform(0.0, 24.0)))
            for name in ("k", "sure", "size", "size_variance", "blocks", "blocks_variance"):
                setattr(group, name, getattr(group, name) + getattr(one, name))
        yield group


# --- The normal quantile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.5, 0.0),
        (0.975, 1.9599639845400542),
        (0.995, 2.5758293035489004),
        (0.8413447460685429, 1.0),
        (0.02275013194817921, -2.0),
        (0.0013498980316300946, -3.0),
        (9.865876450376946e-10, -6.0),
        (7.61985302416047e-24, -10.0),
        (2.753624118606234e-89, -20.0),
    ],
)
def test_normal_quantile_known_values(p: float, expected: float) -> None:
    assert intervals.normal_quantile(p) == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_normal_quantile_inverts_the_distribution() -> None:
    for i in range(1, 2000):
        x = -0.0185 * i  # down to -37
        p = 0.5 * math.erfc(-x / math.sqrt(2.0))
        # One unit in the last place of p is eps p / density(x) of x, at most eps/|x|; erfc itself has a few.
        assert intervals.normal_quantile(p) == pytest.approx(x, rel=4e-15, abs=2e-16)


def test_normal_quantile_is_odd_and_rises() -> None:
    grid = [i / 1024.0 for i in range(1, 1024)]
    values = [intervals.normal_quantile(p) for p in grid]
    assert values == [-x for x in reversed(values)]
    assert all(a < b for a, b in zip(values, values[1:]))


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf, 0, 1, 95, True, "0.95", None])
def test_level_is_checked(level: float) -> None:
    calls: Tuple[Callable[[], object], ...] = (
        lambda: intervals.size_interval(1e6, 1e11, 8, 8e3, R, level),
        lambda: intervals.count_interval(1e3, 1e5, 8, R, 100.0, level),
        lambda: intervals.difference_interval(1e6, 1e11, 8, R, level),
        lambda: intervals.count_difference_interval(1e3, 1e5, 8, R, 100.0, level),
        lambda: intervals.is_significant(1e6, 1e11, 8, R, level),
        lambda: intervals.size_interval(1e6, 0.0, 8, 1e6, 0.0, level),
    )
    for call in calls:
        with pytest.raises(ValueError, match="level must be a float above 0 and below 1, not ") as caught:
            call()
        assert str(caught.value).endswith(repr(level))


def test_normal_quantile_checks_its_argument() -> None:
    for p in (0.0, 1.0, -1.0, 2.0, math.nan):
        with pytest.raises(ValueError, match="p must be a float above 0 and below 1, not "):
            intervals.normal_quantile(p)
    with pytest.raises(ValueError, match="p must be at least 1e-300, not 1e-301"):
        intervals.normal_quantile(1e-301)
    assert intervals.normal_quantile(1e-300) == pytest.approx(-37.0470962993612, rel=1e-13)


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_rate_is_checked(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be a finite number of bytes of at least 0, not "):
        intervals.size_interval(1.0, 1.0, 1, 1.0, rate)
    with pytest.raises(ValueError, match="rate must be"):
        intervals.count_interval(1.0, 1.0, 1, rate, 1.0)
    with pytest.raises(ValueError, match="rate must be"):
        intervals.difference_interval(1.0, 1.0, 1, rate)
    with pytest.raises(ValueError, match="rate must be"):
        intervals.count_difference_interval(1.0, 1.0, 1, rate, 1.0)


# --- Known values -----------------------------------------------------------------------------------------------------


def test_worked_example_of_the_documentation() -> None:
    """10,000 blocks of 1,000 bytes at 128 KiB: 76 samples."""
    group = Group(76, 1000.0)
    assert group.size == pytest.approx(10.0e6, rel=1e-4)
    assert math.sqrt(group.size_variance) == pytest.approx(1.14e6, rel=3e-3)
    low, high = group.in_bytes()
    assert (low / 1e6, high / 1e6) == pytest.approx((7.93, 12.45), abs=0.005)
    low, high = group.in_blocks()
    assert (low, high) == pytest.approx((7932, 12448), abs=0.5)


@pytest.mark.parametrize(
    ("k", "expected"), [(1, (0.0, 4.98)), (3, (0.0, 8.22)), (10, (4.38, 17.89)), (30, (20.35, 42.36))]
)
def test_small_blocks_in_units_of_the_rate(k: int, expected: Tuple[float, float]) -> None:
    low, high = Group(k, 0.001).in_bytes()
    assert (low / R, high / R) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("level", LEVELS)
def test_no_sample_gives_the_exact_bound(level: float) -> None:
    bound = -math.log(1.0 - level)
    low, high = intervals.size_interval(0.0, 0.0, 0, 0.0, R, level)
    assert low == 0.0
    assert high == pytest.approx(bound * R, rel=1e-12)
    low, high = intervals.count_interval(0.0, 0.0, 0, R, 50.0, level)
    assert low == 0.0
    assert high == pytest.approx(bound * 50.0, rel=1e-12)
    low, high = intervals.difference_interval(0.0, 0.0, 0, R, level)
    assert -low == high == pytest.approx(bound * R, rel=1e-12)
    low, high = intervals.count_difference_interval(0.0, 0.0, 0, R, 50.0, level)
    assert -low == high == pytest.approx(bound * 50.0, rel=1e-12)


def test_no_sample_and_no_pooled_weight_assumes_blocks_of_one_byte() -> None:
    weight = 1.0 / -math.expm1(-1.0 / R)
    assert intervals.count_interval(0.0, 0.0, 0, R, 0.0)[1] == pytest.approx(-math.log(0.05) * weight)
    assert intervals.count_difference_interval(0.0, 0.0, 0, R, 0.0)[1] == pytest.approx(-math.log(0.05) * weight)


@pytest.mark.parametrize("level", LEVELS)
def test_only_certain_blocks_leave_room_for_small_ones(level: float) -> None:
    """Blocks far larger than R: nothing is inferred, and the bound of no sample is added."""
    low, high = intervals.size_interval(1e9, 0.0, 5, 1e9, R, level)
    assert low == 1e9
    assert high - 1e9 == pytest.approx(-math.log(1.0 - level) * R, rel=1e-6)
    # A block weighs at least 1.
    for pooled, weight in ((0.0, 1.0), (200.0, 200.0)):
        low, high = intervals.count_interval(5.0, 0.0, 5, R, pooled, level)
        assert low == 5.0
        assert high == pytest.approx(5.0 - math.log(1.0 - level) * weight, rel=1e-12)


def test_many_samples_give_the_normal_interval() -> None:
    group = Group(100000, 100.0)
    half = 1.959964 * math.sqrt(group.size_variance)
    low, high = group.in_bytes()
    # The scale of square roots moves both ends by about w (z^2/4 + 1/2), 0.005 half-widths here.
    assert low == pytest.approx(group.size - half, abs=0.006 * half)
    assert high == pytest.approx(group.size + half, abs=0.006 * half)


@pytest.mark.parametrize("rate", [0, 1, 0.0, 0.5, 1.0])
def test_exact_mode_has_no_width(rate: float) -> None:
    assert intervals.size_interval(1234.0, 0.0, 3, 1234.0, rate) == (1234.0, 1234.0)
    assert intervals.size_interval(0.0, 0.0, 0, 0.0, rate) == (0.0, 0.0)
    assert intervals.count_interval(3.0, 0.0, 3, rate, 0.0) == (3.0, 3.0)
    assert intervals.count_interval(0.0, 0.0, 0, rate, 77.0) == (0.0, 0.0)
    assert intervals.difference_interval(-50.0, 0.0, 2, rate) == (-50.0, -50.0)
    assert intervals.count_difference_interval(-2.0, 0.0, 2, rate, 77.0) == (-2.0, -2.0)
    assert intervals.is_significant(1.0, 0.0, 1, rate)
    assert not intervals.is_significant(0.0, 0.0, 2, rate)


def test_effective_samples() -> None:
    assert intervals.effective_samples(0.0, 0.0, 0.0) == 0.0
    assert intervals.effective_samples(1e9, 0.0, 1e9) == 0.0
    small = Group(40, 1.0)
    assert intervals.effective_samples(small.size, small.size_variance, small.sure) == pytest.approx(40.0, rel=1e-4)
    # k (1-p) for blocks of one size: of bytes and of blocks alike.
    large = Group(40, R)
    expected = 40.0 * math.exp(-1.0)
    assert intervals.effective_samples(large.size, large.size_variance, large.sure) == pytest.approx(expected)
    assert intervals.effective_samples(large.blocks, large.blocks_variance, large.k) == pytest.approx(expected)
    # Two kinds of blocks: one heavy weight among many light ones counts for little more than one.
    n = intervals.effective_samples(R + 20.0 * R / 100.0, R * R + 20.0 * (R / 100.0) ** 2, 0.0)
    assert 1.0 < n < 1.5


def test_pooled_weight_is_that_of_the_missed_blocks() -> None:
    assert intervals.pooled_weight(0.0, 0.0, 0) == 0.0
    assert intervals.pooled_weight(7.0, 0.0, 7) == 0.0
    small = Group(50, 64.0)
    weight = small.blocks / small.k
    assert intervals.pooled_weight(small.blocks, small.blocks_variance, small.k) == pytest.approx(weight)
    # Blocks that are never missed do not matter, however many there are.
    large = Group(100000, 100.0 * R)
    pooled = intervals.pooled_weight(
        small.blocks + large.blocks, small.blocks_variance + large.blocks_variance, small.k + large.k
    )
    assert pooled == pytest.approx(weight, rel=1e-6)


def test_pooled_weight_raises_the_upper_end_only() -> None:
    group = Group(1000, 4.0 * R)
    low, high = group.in_blocks(0.0)
    wide_low, wide_high = group.in_blocks(2000.0)
    assert wide_low == low
    assert wide_high > high + 2.9 * 2000.0
    # A pooled weight below the group's own is not used.
    small = Group(10, 64.0)
    assert small.in_blocks(3.0) == small.in_blocks(0.0)


# --- Properties -------------------------------------------------------------------------------------------------------


def test_ends_are_ordered_and_never_below_what_was_seen() -> None:
    for group in mixed_groups(1, 2000):
        for level in (0.01, 0.5, 0.95, 0.999999):
            low, high = group.in_bytes(level)
            assert 0.0 <= group.sure <= low <= group.size <= high < math.inf
            low, high = group.in_blocks(0.0, level)
            assert group.k <= low <= group.blocks <= high < math.inf


def test_blocks_of_one_size_have_one_interval() -> None:
    """Bytes and blocks then say the same: the lower ends are in proportion, and the upper ones for small blocks."""
    for size in (16.0, 1000.0, R, 3.0 * R):
        for k in (1, 5, 20, 100, 1000):
            group = Group(k, size)
            assert group.in_bytes()[0] / size == pytest.approx(group.in_blocks()[0], rel=1e-9)
            if size <= 1000.0:
                assert group.in_bytes()[1] / size == pytest.approx(group.in_blocks()[1], rel=1e-2)


def test_rounding_below_what_was_seen_is_absorbed() -> None:
    low, high = intervals.size_interval(1e9 - 1e-3, -1e-9, 5, 1e9, R)
    assert low == 1e9
    assert high > low
    assert intervals.count_interval(5.0 - 1e-12, -1e-12, 5, R, 9.0) == intervals.count_interval(5.0, 0.0, 5, R, 9.0)
    assert intervals.difference_interval(0.0, -1e-6, 4, R) == intervals.difference_interval(0.0, 0.0, 4, R)


def test_a_higher_level_contains_a_lower_one() -> None:
    for group in mixed_groups(2, 500):
        change = group.size - 3.0 * R
        before = [(math.inf, -math.inf)] * 4
        for level in LEVELS:
            now = [
                group.in_bytes(level),
                group.in_blocks(300.0, level),
                intervals.difference_interval(change, group.size_variance, group.k, R, level),
                intervals.count_difference_interval(1.0, group.blocks_variance, group.k, R, 300.0, level),
            ]
            for inner, outer in zip(before, now):
                assert outer[0] <= inner[0]
                assert outer[1] >= inner[1]
            before = now


def test_more_samples_raise_both_ends_without_a_jump() -> None:
    ends = [Group(k, 100.0).in_bytes() for k in range(1, 200)]
    lows, highs = zip(*ends)
    assert all(a <= b for a, b in zip(lows, lows[1:]))
    assert all(a < b for a, b in zip(highs, highs[1:]))
    # Each further sample raises an end by about R; near 30 the step changes by less than 2 % of R.
    for series in (lows[20:], highs[20:]):
        steps = [(b - a) / R for a, b in zip(series, series[1:])]
        assert all(abs(b - a) < 0.02 for a, b in zip(steps, steps[1:]))


def test_a_certain_block_moves_both_ends_by_its_size() -> None:
    for group in mixed_groups(3, 300):
        low, high = group.in_bytes()
        group.size += 1e8
        group.sure += 1e8
        group.k += 1
        assert group.in_bytes() == pytest.approx((low + 1e8, high + 1e8), rel=1e-12)


def test_scaling_bytes_and_rate_scales_the_interval() -> None:
    for group in mixed_groups(4, 300):
        low, high = group.in_bytes()
        scaled = intervals.size_interval(
            8.0 * group.size, 64.0 * group.size_variance, group.k, 8.0 * group.sure, 8.0 * R
        )
        assert scaled == pytest.approx((8.0 * low, 8.0 * high), rel=1e-9)


def test_a_sum_is_narrower_than_the_sum_of_its_parts() -> None:
    for a, b in zip(mixed_groups(5, 300), mixed_groups(6, 300)):
        widths = [high - low for low, high in (a.in_bytes(), b.in_bytes())]
        for name in ("k", "sure", "size", "size_variance"):
            setattr(a, name, getattr(a, name) + getattr(b, name))
        low, high = a.in_bytes()
        assert high - low < sum(widths)


# --- Differences ------------------------------------------------------------------------------------------------------


def test_difference_with_thirty_samples_is_nearly_normal() -> None:
    variance = 30.0 * R * R
    low, high = intervals.difference_interval(10.0 * R, variance, 30, R)
    normal = 1.959964 * math.sqrt(variance)
    assert (low + high) / 2.0 == pytest.approx(10.0 * R)
    assert 1.0 < (high - low) / 2.0 / normal < 1.04


def test_difference_of_certain_blocks_left_out_of_the_samples() -> None:
    low, high = intervals.difference_interval(1e9, 0.0, 0, R)
    assert (low, high) == pytest.approx((1e9 + math.log(0.05) * R, 1e9 - math.log(0.05) * R))


def test_difference_is_symmetric() -> None:
    low, high = intervals.difference_interval(5.0 * R, 9.0 * R * R, 9, R)
    assert intervals.difference_interval(-5.0 * R, 9.0 * R * R, 9, R) == (-high, -low)


def test_difference_of_blocks_without_pooled_weight_uses_the_samples() -> None:
    group = Group(20, 64.0)
    weight = math.sqrt(group.blocks_variance / group.k)
    assert intervals.count_difference_interval(
        group.blocks, group.blocks_variance, group.k, R, 0.0
    ) == intervals.count_difference_interval(group.blocks, group.blocks_variance, group.k, R, weight)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_six_new_samples_are_significant_and_five_are_not(sign: float) -> None:
    assert not intervals.is_significant(sign * 5.0 * R, 5.0 * R * R, 5, R)
    assert intervals.is_significant(sign * 6.0 * R, 6.0 * R * R, 6, R)
    assert not intervals.is_significant(sign * 6.0 * R, 6.0 * R * R, 6, R, 0.99)
    assert not intervals.is_significant(0.0, 0.0, 0, R)


def test_growth_of_a_large_block_is_significant_at_once() -> None:
    assert intervals.is_significant(64.0 * R, 0.0, 1, R)


# --- Coverage ---------------------------------------------------------------------------------------------------------


def test_exact_coverage_of_small_blocks() -> None:
    """Summed over the Poisson distribution, so no tolerance: at least 94 % for every expected number of samples."""
    ends = [tuple(end / R for end in Group(k, 1e-6).in_bytes()) for k in range(260)]
    means = [0.05 * 1.01**i for i in range(765)]  # to 100
    coverage = [model.exact_poisson_coverage(ends.__getitem__, mean) for mean in means]
    assert min(coverage) >= 0.94
    many = [c for c, mean in zip(coverage, means) if mean >= 30.0]
    assert max(many) <= 0.961
    assert abs(sum(many) / len(many) - 0.95) < 0.004


@pytest.mark.parametrize(("ratio", "blocks"), [(3.3, 500), (2.4, 375), (1.7, 228)])
def test_exact_coverage_where_few_blocks_are_missed(ratio: float, blocks: int) -> None:
    """Hundreds of blocks of which some 15 to 45 are missed: 93.7 to 93.9 % if their discreteness were left out."""
    p = -math.expm1(-ratio)
    ends = [tuple(end / (ratio * R) for end in Group(k, ratio * R).in_bytes()) for k in range(blocks + 1)]
    assert model.exact_binomial_coverage(ends.__getitem__, blocks, p) >= 0.942


def test_exact_coverage_of_growth() -> None:
    """The hardest difference, small blocks born and none died: at least 93.7 %."""
    ends = [tuple(end / R for end in intervals.difference_interval(k * R, k * R * R, k, R)) for k in range(260)]
    coverage = [model.exact_poisson_coverage(ends.__getitem__, 0.05 * 1.01**i) for i in range(765)]
    assert min(coverage) >= 0.937
    assert sum(coverage[-100:]) / 100.0 == pytest.approx(0.95, abs=0.002)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 1.5, 2.5, 4.0])
def test_exact_coverage_of_blocks_of_one_size(ratio: float) -> None:
    """Summed over the binomial distribution: sizes near R, where a missed block weighs as much as a sample."""
    size = ratio * R
    p = -math.expm1(-ratio)
    groups = [Group(k, size) for k in range(101)]
    in_bytes = [tuple(end / size for end in group.in_bytes()) for group in groups]
    in_blocks = [group.in_blocks(1.0 / p) for group in groups]
    for blocks in (1, 2, 3, 5, 8, 10, 14, 20, 33, 57, 80, 100):
        assert model.exact_binomial_coverage(in_bytes.__getitem__, blocks, p) >= 0.94
        assert model.exact_binomial_coverage(in_blocks.__getitem__, blocks, p) >= 0.94


@pytest.mark.parametrize("name", sorted(model.MIXES))
def test_coverage_of_mixed_sizes(name: str) -> None:
    """Drawn, 800 replications a cell; the thresholds lie 4 standard errors (of 0.0077) beyond 94 and 96 %."""
    replications = 800
    sigma = math.sqrt(0.95 * 0.05 / replications)
    for expected in (1, 10, 100):
        rng = random.Random(f"{name} {expected}")
        cell = model.measure_groups(intervals, model.MIXES[name], 524288.0, expected, replications, rng, 0.95)
        for measured in (cell.size, cell.blocks):
            assert measured.covered >= 0.94 - 4.0 * sigma
            if measured.effective >= 30.0:
                assert measured.covered <= 0.96 + 4.0 * sigma
                assert measured.relative_width(1.959964) < 1.06


def test_the_model_finds_the_normal_interval_wanting() -> None:
    """+-1.96 sigma covers 80 % at 3 expected samples: more than 10 standard errors below 95 %."""
    cell = model.measure_groups(intervals, model.MIXES["64 B"], 524288.0, 3, 800, random.Random(1), 0.95)
    assert cell.normal.covered < 0.85
    cell = model.measure_groups(intervals, model.MIXES["bimodal"], 524288.0, 100, 800, random.Random(1), 0.95)
    assert cell.blocks_alone.covered < 0.1


@pytest.mark.parametrize("born", [1.0, 0.5])
@pytest.mark.parametrize("name", ["64 B", "uniform", "Pareto"])
def test_coverage_of_differences(name: str, born: float) -> None:
    """As above: 800 replications, 4 standard errors; false alarms at most 6 %."""
    replications = 800
    sigma = math.sqrt(0.95 * 0.05 / replications)
    for expected in (1, 10, 100):
        rng = random.Random(f"{name} {born} {expected}")
        size, blocks, wrong = model.measure_difference(
            intervals, model.MIXES[name], 524288.0, expected, born, replications, rng, 0.95
        )
        assert size.covered >= 0.94 - 4.0 * sigma
        assert blocks.covered >= 0.94 - 4.0 * sigma
        assert wrong <= 0.06 + 4.0 * sigma


def test_the_model_samples_as_the_countdown_does() -> None:
    """The shortcut of the model, p per block, against the algorithm: within 4.5 standard errors for each size."""
    rng = random.Random(5)
    trials = 20000
    for size in (64, 4096, 65536, 200000):
        p = -math.expm1(-size / R)
        hits = sum(model.marks([size] * trials, R, rng))
        assert abs(hits - trials * p) < 4.5 * math.sqrt(trials * p * (1.0 - p))


def test_the_model_estimates_without_bias() -> None:
    """Mean error of the estimates within 4.5 standard errors of zero."""
    for name in ("bimodal", "uniform", "768 KiB"):
        population = model.Population(model.MIXES[name], 524288.0, random.Random(9))
        blocks = population.blocks_for(20)
        groups = [population.group(blocks) for _ in range(2000)]
        error = sum(g.size - g.true_size for g in groups)
        assert abs(error) < 4.5 * math.sqrt(len(groups) * blocks * population.size_variance)
        counted = sum(g.samples for g in groups) / (len(groups) * blocks)
        assert abs(counted - population.chance) < 4.5 * math.sqrt(
            population.chance * (1.0 - population.chance) / (len(groups) * blocks)
        )
