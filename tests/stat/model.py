# SPDX-License-Identifier: MIT
"""Measures how often the confidence intervals of mprofile/intervals.py cover the truth.

WHAT    Draws groups of blocks, samples them as the profiler does, and counts how often the
        interval holds the true figure. `python tests/stat/model.py` prints the tables of
        docs/sampling.md; the tests import it for a short run of the same.

HOW     A group is n blocks whose sizes are drawn from a mix, a list of sizes with their
        frequencies. n is chosen for a given expected number of samples, at least 1. Blocks
        are independent, so each replication draws the number of samples k (binomial), then
        the sizes of the samples (frequency times p) and of the missed blocks (frequency
        times 1-p). Only sizes are drawn, not blocks: millions of missed blocks cost nothing,
        for above MISSED_ONE_BY_ONE of them their total is drawn from a normal distribution.

        `marks` plays the real algorithm, gap by gap, to check that it samples a block with
        probability p: the shortcut above rests on that alone.

Standard library only; the module under test is loaded from the source tree, so nothing has
to be built.
"""

import argparse
import importlib.util
import math
import os
import random
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

LARGEST = 8 << 20
MISSED_ONE_BY_ONE = 4000
RATES = (512 << 10, 128 << 10)
EXPECTED = (0.1, 1, 3, 10, 30, 100, 1000)


def load_intervals() -> Any:
    """Return mprofile/intervals.py of this source tree as a module."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, os.pardir, os.pardir, "mprofile", "intervals.py")
    spec = importlib.util.spec_from_file_location("mprofile_intervals", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# A mix is a list of (size in bytes, frequency); frequencies need not add up to 1.
Mix = List[Tuple[float, float]]


def constant(size: int) -> Mix:
    return [(float(size), 1.0)]


def uniform() -> Mix:
    """1 byte to 8 MiB, all alike, in 4096 steps."""
    step = LARGEST / 4096.0
    return [(math.ceil((i + 0.5) * step), 1.0) for i in range(4096)]


def bimodal() -> Mix:
    return [(64.0, 0.5), (float(2 << 20), 0.5)]


def pareto() -> Mix:
    """P(size >= s) = 1/s from 1 byte to 8 MiB: half the blocks have 1 byte, each octave holds the same bytes.

    Sizes to 256 one by one, above that in steps of 1/64 octave.
    """
    edges = [float(s) for s in range(1, 257)]
    while edges[-1] < LARGEST:
        edges.append(edges[-1] * 2.0 ** (1.0 / 64.0))
    return [(math.floor(low), 1.0 / low - 1.0 / high) for low, high in zip(edges, edges[1:])]


MIXES: Dict[str, Mix] = {
    "64 B": constant(64),
    "1000 B": constant(1000),
    "768 KiB": constant(768 << 10),
    "uniform": uniform(),
    "bimodal": bimodal(),
    "Pareto": pareto(),
}


class Sums(NamedTuple):
    """A sampled group and the truth about it: what a profile knows, then what only the model knows."""

    samples: int
    sure: float
    size: float
    size_variance: float
    blocks: float
    blocks_variance: float
    true_size: float
    true_count: int


class Population:
    """A mix seen at a rate: draws groups."""

    def __init__(self, mix: Mix, rate: float, rng: random.Random) -> None:
        self.rng = rng
        self.sizes = [size for size, _ in mix]
        chances = [-math.expm1(-size / rate) for size in self.sizes]
        misses = [math.exp(-size / rate) for size in self.sizes]
        total = math.fsum(frequency for _, frequency in mix)
        frequencies = [frequency / total for _, frequency in mix]
        self.index = range(len(mix))
        self.bytes_of = [s / p for s, p in zip(self.sizes, chances)]
        self.blocks_of = [1.0 / p for p in chances]
        self.block_variance_of = [q / (p * p) for p, q in zip(chances, misses)]
        self.byte_variance_of = [s * s * v for s, v in zip(self.sizes, self.block_variance_of)]
        self.seen = _cumulative(f * p for f, p in zip(frequencies, chances))
        self.missed = _cumulative(f * q for f, q in zip(frequencies, misses))
        self.chance = self.seen[-1]
        missed = max(self.missed[-1], 1e-300)
        self.missed_mean = math.fsum(f * q * s for f, q, s in zip(frequencies, misses, self.sizes)) / missed
        square = math.fsum(f * q * s * s for f, q, s in zip(frequencies, misses, self.sizes)) / missed
        self.missed_deviation = math.sqrt(max(0.0, square - self.missed_mean**2))
        # Per block: what is left to infer, and the variance of the estimate's error.
        self.inferred_size = math.fsum(f * q * s for f, q, s in zip(frequencies, misses, self.sizes))
        self.inferred_count = self.missed[-1]
        self.size_variance = math.fsum(
            f * q / p * s * s for f, q, p, s in zip(frequencies, misses, chances, self.sizes)
        )
        self.count_variance = math.fsum(f * q / p for f, q, p in zip(frequencies, misses, chances))
        # The weight pooled over a profile of this mix that is far larger than the group.
        self.pooled_weight = self.count_variance / missed

    def blocks_for(self, expected: float) -> int:
        """Return the number of blocks that gives this expected number of samples; at least 1."""
        return max(1, int(round(expected / self.chance)))

    def group(self, blocks: int) -> Sums:
        """Draw a group of so many blocks and sample it."""
        k = binomial(self.rng, blocks, self.chance)
        drawn = self.rng.choices(self.index, cum_weights=self.seen, k=k) if k else []
        unseen = blocks - k
        if unseen > MISSED_ONE_BY_ONE:
            deviation = math.sqrt(unseen) * self.missed_deviation
            rest = max(float(unseen), self.rng.gauss(unseen * self.missed_mean, deviation))
        elif unseen:
            rest = math.fsum(self.rng.choices(self.sizes, cum_weights=self.missed, k=unseen))
        else:
            rest = 0.0
        sure = _pick(self.sizes, drawn)
        return Sums(
            samples=k,
            sure=sure,
            size=_pick(self.bytes_of, drawn),
            size_variance=_pick(self.byte_variance_of, drawn),
            blocks=_pick(self.blocks_of, drawn),
            blocks_variance=_pick(self.block_variance_of, drawn),
            true_size=sure + rest,
            true_count=blocks,
        )


def _cumulative(weights: Any) -> List[float]:
    sums = []
    total = 0.0
    for weight in weights:
        total += weight
        sums.append(total)
    return sums


def _pick(table: Sequence[float], drawn: Sequence[int]) -> float:
    return math.fsum(map(table.__getitem__, drawn))


def binomial(rng: random.Random, n: int, p: float) -> int:
    """Draw how many of n trials of chance p succeed, by the gaps between successes (or failures)."""
    if p >= 1.0:
        return n
    if p > 0.5:
        return n - binomial(rng, n, 1.0 - p)
    if p <= 0.0:
        return 0
    scale = -1.0 / math.log1p(-p)
    successes = 0
    place = rng.expovariate(1.0) * scale
    while place < n:
        successes += 1
        place = math.floor(place) + 1 + rng.expovariate(1.0) * scale
    return successes


def marks(sizes: Sequence[int], rate: float, rng: random.Random) -> List[bool]:
    """Play the profiler's countdown over a stream of blocks; return which are samples."""
    sampled = []
    gap = rng.expovariate(1.0) * rate
    for size in sizes:
        if gap > size:
            gap -= size
            sampled.append(False)
        else:
            gap = rng.expovariate(1.0) * rate
            sampled.append(True)
    return sampled


class Coverage:
    """How often intervals covered and how wide they were.

    inferred and variance are the true ones: the expected total of the missed blocks and the
    variance of the estimate's error.
    """

    def __init__(self, inferred: float, variance: float) -> None:
        self.trials = 0
        self.too_high = 0
        self.too_low = 0
        self.width = 0.0
        self.deviation = math.sqrt(variance)
        self.effective = inferred**2 / variance

    def add(self, interval: Tuple[float, float], truth: float) -> None:
        slack = 1e-9 * max(1.0, abs(truth))
        self.trials += 1
        self.too_high += interval[0] > truth + slack
        self.too_low += interval[1] < truth - slack
        self.width += interval[1] - interval[0]

    @property
    def covered(self) -> float:
        return 1.0 - (self.too_high + self.too_low) / self.trials

    def relative_width(self, z: float) -> float:
        """Mean width over that of +-z standard deviations, which a normal error would need."""
        return self.width / self.trials / (2.0 * z * self.deviation)


class Cell(NamedTuple):
    """One row of the table of groups."""

    samples: float
    size: Coverage
    blocks: Coverage
    blocks_alone: Coverage
    normal: Coverage


def measure_groups(
    intervals: Any, mix: Mix, rate: float, expected: float, replications: int, rng: random.Random, level: float
) -> Cell:
    """Draw groups and apply every interval of a group; also the plain normal one, to compare."""
    population = Population(mix, rate, rng)
    blocks = population.blocks_for(expected)
    pooled = population.pooled_weight
    z = -intervals.normal_quantile((1.0 - level) / 2.0)
    size, normal = [Coverage(blocks * population.inferred_size, blocks * population.size_variance) for _ in range(2)]
    count, alone = [Coverage(blocks * population.inferred_count, blocks * population.count_variance) for _ in range(2)]
    samples = 0
    for _ in range(replications):
        g = population.group(blocks)
        samples += g.samples
        size.add(intervals.size_interval(g.size, g.size_variance, g.samples, g.sure, rate, level), g.true_size)
        half = z * math.sqrt(g.size_variance)
        normal.add((g.size - half, g.size + half), g.true_size)
        group = (g.blocks, g.blocks_variance, g.samples, rate)
        count.add(intervals.count_interval(*group, pooled, level), g.true_count)
        alone.add(intervals.count_interval(*group, 0.0, level), g.true_count)
    return Cell(samples / replications, size, count, alone, normal)


def measure_difference(
    intervals: Any,
    mix: Mix,
    rate: float,
    expected: float,
    born: float,
    replications: int,
    rng: random.Random,
    level: float,
) -> Tuple[Coverage, Coverage, float]:
    """Draw blocks born and died, `expected` samples in all, the share `born` of them born.

    Returns the coverage in bytes and in blocks, and the share of changes in bytes that were
    called significant although there was none or one of the opposite sign.
    """
    population = Population(mix, rate, rng)
    births = population.blocks_for(expected * born)
    deaths = population.blocks_for(expected * (1.0 - born)) if born < 1.0 else 0
    changed = births + deaths
    size = Coverage(changed * population.inferred_size, changed * population.size_variance)
    count = Coverage(changed * population.inferred_count, changed * population.count_variance)
    wrong = 0
    for _ in range(replications):
        b = population.group(births)
        d = population.group(deaths)
        samples = b.samples + d.samples
        change = b.size - d.size
        variance = b.size_variance + d.size_variance
        truth = b.true_size - d.true_size
        size.add(intervals.difference_interval(change, variance, samples, rate, level), truth)
        wrong += intervals.is_significant(change, variance, samples, rate, level) and change * truth <= 0.0
        change = b.blocks - d.blocks
        variance = b.blocks_variance + d.blocks_variance
        got = intervals.count_difference_interval(change, variance, samples, rate, population.pooled_weight, level)
        count.add(got, b.true_count - d.true_count)
    return size, count, wrong / replications


def exact_binomial_coverage(ends: Callable[[int], Tuple[float, float]], blocks: int, chance: float) -> float:
    """Return the exact coverage of `blocks` by the intervals ends(k) when k of them are samples."""
    covered = 0.0
    for k in range(blocks + 1):
        low, high = ends(k)
        if low <= blocks * (1.0 + 1e-9) and high >= blocks * (1.0 - 1e-9):
            ways = math.lgamma(blocks + 1.0) - math.lgamma(k + 1.0) - math.lgamma(blocks - k + 1.0)
            covered += math.exp(ways + k * math.log(chance) + (blocks - k) * math.log1p(-chance))
    return covered


def exact_poisson_coverage(ends: Callable[[int], Tuple[float, float]], mean: float) -> float:
    """Return the exact coverage of `mean` by the intervals ends(k) when k is Poisson."""
    reach = 12.0 * math.sqrt(mean) + 30.0
    covered = 0.0
    for k in range(max(0, int(mean - reach)), int(mean + reach)):
        low, high = ends(k)
        if low <= mean <= high:
            covered += math.exp(k * math.log(mean) - mean - math.lgamma(k + 1.0))
    return covered


# --- The tables -------------------------------------------------------------------------------------------------------


def print_groups(intervals: Any, replications: int, seed: int, level: float) -> None:
    z = -intervals.normal_quantile((1.0 - level) / 2.0)
    names = ["sizes", "R KiB", "samples", "n bytes", "bytes %", "width", "normal %"]
    names += ["n blocks", "blocks %", "width", "own weights %"]
    print("| " + " | ".join(names) + " |")
    print("|---|" + "--:|" * (len(names) - 1))
    for name, mix in MIXES.items():
        for rate in RATES:
            blocks = 0
            for expected in EXPECTED:
                rng = random.Random(f"{seed} {name} {rate} {expected}")
                population = Population(mix, rate, rng)
                if population.blocks_for(expected) == blocks:
                    continue  # One block already has more samples than this.
                blocks = population.blocks_for(expected)
                cell = measure_groups(intervals, mix, rate, expected, replications, rng, level)
                row = [name, str(rate >> 10), short(cell.samples)]
                for measured in (cell.size, cell.blocks):
                    row += [short(measured.effective), percent(measured.covered), f"{measured.relative_width(z):.2f}"]
                    row += [percent((cell.normal if measured is cell.size else cell.blocks_alone).covered)]
                print("| " + " | ".join(row) + " |")
                sys.stdout.flush()


def short(value: float) -> str:
    """Return a number with two digits, or all before the point."""
    return f"{value:.0f}" if value >= 10.0 else f"{value:.2g}"


def percent(share: float) -> str:
    return f"{100.0 * share:.1f}"


def print_differences(intervals: Any, replications: int, seed: int, level: float) -> None:
    z = -intervals.normal_quantile((1.0 - level) / 2.0)
    rate = RATES[0]
    print("| sizes | born | samples | bytes % | width | wrong % | blocks % |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in ("64 B", "uniform", "Pareto"):
        for born in (1.0, 0.5):
            blocks = 0
            for expected in EXPECTED:
                rng = random.Random(f"{seed} {name} {born} {expected}")
                births = Population(MIXES[name], rate, rng).blocks_for(expected * born)
                if births == blocks:
                    continue
                blocks = births
                size, count, wrong = measure_difference(
                    intervals, MIXES[name], rate, expected, born, replications, rng, level
                )
                row = [name, f"{100.0 * born:.0f} %", f"{expected:g}", percent(size.covered)]
                row += [f"{size.relative_width(z):.2f}", percent(wrong), percent(count.covered)]
                print("| " + " | ".join(row) + " |")
                sys.stdout.flush()


def print_exact(intervals: Any) -> None:
    """Lowest and highest exact coverage, over expected numbers of samples, for blocks far smaller than R.

    growth: a difference in which all samples were born and none died.
    """
    print("| interval of | level % | below 3 | 3 to 10 | 10 to 30 | 30 to 100 | mean, 30 to 100 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    rate = 2.0**30
    for what, level in (("size", 0.8), ("size", 0.9), ("size", 0.95), ("size", 0.99), ("growth", 0.95)):
        ends = []
        for k in range(400):
            if what == "size":
                low, high = intervals.size_interval(k * rate, k * rate * rate, k, 0.0, rate, level)
            else:
                low, high = intervals.difference_interval(k * rate, k * rate * rate, k, rate, level)
            ends.append((low / rate, high / rate))
        cells = []
        for low, high in ((0.05, 3.0), (3.0, 10.0), (10.0, 30.0), (30.0, 100.0)):
            cells.append(
                [exact_poisson_coverage(ends.__getitem__, low * (high / low) ** (i / 2000.0)) for i in range(2001)]
            )
        row = [f"{percent(min(cell))} to {percent(max(cell))}" for cell in cells]
        row.append(percent(math.fsum(cells[-1]) / len(cells[-1])))
        print(f"| {what} | {100.0 * level:g} | " + " | ".join(row) + " |")


def print_exact_sizes(intervals: Any) -> None:
    """Lowest and highest exact coverage at 95 % for 1 to 1000 blocks of one size."""
    print("| size / R | bytes, any n | bytes, n >= 30 | blocks, any n | blocks, n >= 30 |")
    print("|--:|--:|--:|--:|--:|")
    rate = float(1 << 20)
    for ratio in (0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 5.0):
        size = ratio * rate
        p = -math.expm1(-ratio)
        cells: List[List[float]] = [[], [], [], []]
        for blocks in list(range(1, 61)) + [70, 80, 100, 130, 160, 200, 300, 400, 500, 700, 1000]:

            def in_bytes(k: int) -> Tuple[float, float]:
                low, high = intervals.size_interval(
                    k * size / p, k * size * size * (1 - p) / p**2, k, k * size, rate, 0.95
                )
                return low / size, high / size

            def in_blocks(k: int) -> Tuple[float, float]:
                ends = intervals.count_interval(k / p, k * (1 - p) / p**2, k, rate, 1.0 / p, 0.95)
                return float(ends[0]), float(ends[1])

            for column, ends in ((0, in_bytes), (2, in_blocks)):
                covered = exact_binomial_coverage(ends, blocks, p)
                cells[column].append(covered)
                if blocks * p * (1 - p) >= 30.0:
                    cells[column + 1].append(covered)
        row = [f"{percent(min(cell))} to {percent(max(cell))}" if cell else "" for cell in cells]
        print(f"| {ratio:g} | " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the coverage of mprofile's confidence intervals.")
    parser.add_argument("--replications", type=int, default=4000, help="groups drawn per row (default: 4000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default: 1)")
    parser.add_argument("--level", type=float, default=0.95, help="level of the intervals (default: 0.95)")
    arguments = parser.parse_args()
    if arguments.replications < 1:
        parser.error(f"--replications must be at least 1, not {arguments.replications}")
    intervals = load_intervals()
    print("Groups:\n")
    print_groups(intervals, arguments.replications, arguments.seed, arguments.level)
    print(f"\nDifferences at R = {RATES[0] >> 10} KiB:\n")
    print_differences(intervals, arguments.replications, arguments.seed, arguments.level)
    print("\nExact, for blocks far smaller than R:\n")
    print_exact(intervals)
    print("\nExact, for blocks of one size:\n")
    print_exact_sizes(intervals)


if __name__ == "__main__":
    main()
