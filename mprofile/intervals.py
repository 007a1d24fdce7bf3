# SPDX-License-Identifier: MIT
"""Confidence intervals for sampled figures.

WHAT    From the sums a profile keeps per group (a line, a file, a whole process), the range
        that holds the true number of bytes or blocks with a stated probability.

        A block of s bytes is a sample with probability p(s) = 1 - exp(-s/R), where R is the
        rate: the mean number of bytes between two marks. A sample stands for s/p bytes and
        1/p blocks. Per group a profile keeps

            samples   k      number of sampled blocks
            sure      S      sum of s                 bytes that were seen
            bytes     E_b    sum of s/p               V_b = sum of s^2 (1-p)/p^2
            blocks    E_c    sum of 1/p               V_c = sum of (1-p)/p^2

        E is an unbiased estimate, V an unbiased estimate of its variance.

WHY     The interval is put around the *inferred* part only, U = E_b - S bytes or
        U = E_c - k blocks. What was seen is certain, so no interval starts below it. U and
        its variance V are described by two figures,

            n = U^2 / V     effective samples of the inferred part,
            w = V / U       weight of one of them.

        For small blocks n = k, w = R bytes, and k is a Poisson number. Blocks far larger
        than R are always sampled: they add to S and leave U, V, n and w alone. For n of
        about 30 and more the result is the normal interval; below, it is wider and
        lopsided, as it must be. docs/sampling.md derives it and shows measured coverage.

RATES   A rate of 0 or 1 is exact mode: every block was seen and every interval has zero
        width. A profile merged from several rates is described by its largest rate.

All functions are pure and need nothing but the math module.
"""

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

__all__ = [
    "count_difference_interval",
    "count_interval",
    "difference_interval",
    "effective_samples",
    "is_significant",
    "normal_quantile",
    "pooled_weight",
    "size_interval",
]

# The lower end for few samples. Let the chance of "too high" at the lower end fall below
# half of 1 - level when n is small: at R times 3 bytes a group is missed altogether with
# probability 5 %, which alone uses up what a 95 % interval may err. Found by computing the
# coverage for Poisson numbers exactly: with these two, a 95 % interval covers at least 94 %
# for every expected number of samples. The effect fades as 1/n.
_LOWER_PULL = 13.0
_LOWER_OFFSET = 1.6


def normal_quantile(p: float) -> float:
    """Return x such that a standard normal number is below x with probability p.

    p is a float from 1e-300 to below 1; anything else raises ValueError. The error is below
    1e-15 max(1, |x|), also far out in the lower tail.

    Method: Newton's steps on log(Phi(x)) = log(p) with Phi(x) = erfc(-x/sqrt(2))/2, for p of
    at most one half. Phi(x) <= exp(-x^2/2)/2 gives a start below the root, and because
    log(Phi) is concave every step stays below it: the steps only rise and cannot diverge.
    """
    p = _probability("p", p)
    if p < 1e-300:
        raise ValueError(f"p must be at least 1e-300, not {p!r}")
    if p > 0.5:
        return -normal_quantile(1.0 - p)
    x = 0.0 - math.sqrt(max(0.0, -2.0 * math.log(2.0 * p)))
    # Five steps are the most any p needs; the last bit may go on flickering.
    for _ in range(6):
        below = 0.5 * math.erfc(-x / math.sqrt(2.0))
        density = math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        x += math.log(p / below) * below / density
    return x


def effective_samples(estimate: float, variance: float, certain: float) -> float:
    """Return n = (estimate - certain)^2 / variance, the effective samples of the inferred part.

    For bytes `certain` is the sum of sampled sizes, for blocks the number of samples. n is
    the number of samples of equal weight that would give the same relative error. It equals
    the number of samples for small blocks of one size, and is smaller where sizes differ or
    where blocks are so large that nothing about them is left to infer. 0 if there is nothing
    to infer.
    """
    inferred = estimate - certain
    if inferred <= 0.0 or variance <= 0.0:
        return 0.0
    return inferred * inferred / variance


def pooled_weight(estimate: float, variance: float, samples: int) -> float:
    """Return the weight, in blocks, of a typical block that was not sampled.

    The arguments are the figures of the whole profile: E_c, V_c and k. The result is
    V_c / (E_c - k), the mean of 1/p over the blocks the profile missed, hence the weight
    that an unseen block would have had. 0.0 if the profile missed none.

    Not V_c / E_c: that is a mean over all blocks, and a few large blocks, which are never
    missed and weigh next to nothing, would halve it.
    """
    missed = estimate - samples
    if missed <= 0.0 or variance <= 0.0:
        return 0.0
    return variance / missed


def size_interval(
    estimate: float,
    variance: float,
    samples: int,
    sure: float,
    rate: float,
    level: float = 0.95,
) -> "Tuple[float, float]":
    """Return (low, high) in bytes for a group's size.

    estimate, variance: E_b in bytes, V_b in bytes squared; samples: k; sure: the sum of the
    sampled sizes in bytes; rate: R in bytes; level: the probability to cover, a float with
    0 < level < 1 (ValueError otherwise).

    sure <= low <= estimate <= high. No sample gives (0, -ln(1 - level) R), the exact bound: B
    bytes hold no mark with probability exp(-B/R). Exact mode gives (estimate, estimate).

    Source: the square-root interval of a Poisson number, with Fay and Feuer's treatment of
    unequal weights (Statistics in Medicine 16, 1997, 791-801: the upper end is that of the
    sums with one more sample of the largest weight, here R) in its mid-p form (Fay and Kim,
    Biometrical Journal, 2017, doi:10.1002/bimj.201600111: half a sample instead of one).
    """
    level = _probability("level", level)
    rate = _rate(rate)
    if rate <= 1.0:
        return (estimate, estimate)
    if samples <= 0:
        return (0.0, -math.log1p(-level) * rate)
    inferred = max(0.0, estimate - sure)
    variance = max(0.0, variance)
    weight = variance / inferred if inferred > 0.0 else rate
    # Blocks of one size have weight s/p, from R for the smallest upwards.
    largeness = max(0.0, 1.0 - rate / weight) if weight > 0.0 else 1.0
    low = sure + _inferred_low(inferred, variance, largeness, level)
    high = sure + _inferred_high(inferred, variance, rate, level)
    return (max(sure, min(low, estimate)), max(high, estimate))


def count_interval(
    estimate: float,
    variance: float,
    samples: int,
    rate: float,
    pooled_weight: float,
    level: float = 0.95,
) -> "Tuple[float, float]":
    """Return (low, high) in blocks for a group's number of blocks.

    estimate, variance: E_c in blocks, V_c in blocks squared; samples: k; rate: R in bytes;
    pooled_weight: what the function of that name returns for the whole profile, 0 if it is
    not known; level: as for size_interval.

    samples <= low <= estimate <= high. Exact mode gives (estimate, estimate).

    The method is that of size_interval. The difference is the largest weight: an unseen
    block may be of a size of which the group has no sample, and weigh far more than those
    that were seen (a line that makes arrays of 2 MiB also makes their headers of 100 bytes).
    The unseen sample is given pooled_weight, or the group's own mean weight if that is
    larger; it is at least 1. With pooled_weight 0 a group with samples rests on its own
    weights, and the upper end can be far too low; a group without samples then gets the
    weight of blocks of one byte.
    """
    level = _probability("level", level)
    rate = _rate(rate)
    if rate <= 1.0:
        return (estimate, estimate)
    unseen = max(0.0, pooled_weight)
    if samples <= 0:
        if unseen == 0.0:
            unseen = -1.0 / math.expm1(-1.0 / rate)
        return (0.0, -math.log1p(-level) * unseen)
    inferred = max(0.0, estimate - samples)
    variance = max(0.0, variance)
    weight = variance / inferred if inferred > 0.0 else 1.0
    # Blocks of one size have weight 1/p. The same figure as for bytes, as s/R = -ln(1 - p).
    largeness = 1.0 + 1.0 / (weight * math.log1p(-1.0 / weight)) if weight > 1.0 else 1.0
    low = samples + _inferred_low(inferred, variance, largeness, level)
    high = samples + _inferred_high(inferred, variance, max(unseen, weight), level)
    return (max(float(samples), min(low, estimate)), max(high, estimate))


def difference_interval(
    difference: float,
    variance: float,
    samples: int,
    rate: float,
    level: float = 0.95,
) -> "Tuple[float, float]":
    """Return (low, high) in bytes for the change of a group between two snapshots.

    difference: sum of s/p over the samples born between the snapshots, less that over those
    that died, in bytes; variance: the sum of s^2 (1-p)/p^2 over both, in bytes squared;
    samples: how many were born or died (blocks sampled with certainty may be left out of the
    variance and of this number, but not of the difference); rate: R in bytes; level: as for size_interval.

    For two snapshots of one process the samples alive in both cancel and must not be
    counted. For two processes nothing cancels: variance and samples are the sums of both.

    low, high = difference -+ sqrt(z^2 variance + (ln(1 - level) R)^2), where z is the normal
    quantile. With no sample this is the exact bound: B bytes born or died leave no mark with
    probability exp(-B/R), so the change is within +-3.0 R at 95 %. With 30 samples or more
    of small blocks it is the normal interval, at most 4 % wider.
    """
    level = _probability("level", level)
    rate = _rate(rate)
    if rate <= 1.0:
        return (difference, difference)
    return _around(difference, variance, samples, rate, level)


def count_difference_interval(
    difference: float,
    variance: float,
    samples: int,
    rate: float,
    pooled_weight: float,
    level: float = 0.95,
) -> "Tuple[float, float]":
    """Return (low, high) in blocks for the change of a group between two snapshots.

    As difference_interval, with 1/p for s/p, (1-p)/p^2 for s^2 (1-p)/p^2, and pooled_weight
    (see the function of that name; 0 if not known) for the bytes an unseen sample stands
    for. With pooled_weight 0 the unseen sample is given the mean weight of the samples that
    changed, or, if none did, that of blocks of one byte.
    """
    level = _probability("level", level)
    rate = _rate(rate)
    if rate <= 1.0:
        return (difference, difference)
    unseen = max(0.0, pooled_weight)
    if unseen == 0.0:
        if samples > 0:
            unseen = math.sqrt(max(0.0, variance) / samples)
        else:
            unseen = -1.0 / math.expm1(-1.0 / rate)
    return _around(difference, variance, samples, unseen, level)


def is_significant(
    difference: float,
    variance: float,
    samples: int,
    rate: float,
    level: float = 0.95,
) -> bool:
    """Return whether the interval of a change in bytes excludes zero.

    The arguments are those of difference_interval. Among 100 groups that did not change,
    up to 5 are called significant at level 0.95: raise the level when many are looked at.
    """
    low, high = difference_interval(difference, variance, samples, rate, level)
    return low > 0.0 or high < 0.0


def _probability(name: str, value: float) -> float:
    if not isinstance(value, float) or not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be a float above 0 and below 1, not {value!r}")
    return value


def _rate(value: float) -> float:
    if not 0.0 <= value < math.inf:
        raise ValueError(f"rate must be a finite number of bytes of at least 0, not {value!r}")
    return float(value)


def _half_quantile(level: float) -> float:
    """Return z/2, where a standard normal number is within +-z with probability `level`."""
    return -0.5 * normal_quantile(0.5 * (1.0 - level))


def _extra_samples(level: float, half: float) -> float:
    """Return c, the samples added to n before the square root is taken.

    The upper end for n samples is w (sqrt(n + c) + z/2)^2. No sample must give the exact bound
    -ln(1 - level), which fixes c: 0.56 at 95 %. The expansion of the mid-p interval of a Poisson
    number for large n asks for 1/2 + (z^2 - 4)/12, 0.49 at 95 %: one c serves both ends.
    """
    root = math.sqrt(-math.log1p(-level)) - half
    return root * root


def _inferred_low(inferred: float, variance: float, largeness: float, level: float) -> float:
    """Return the lower end for the inferred part: w max(0, sqrt(n + c - pull) - z/2)^2.

    largeness is 1 - R p/s for blocks of one size that would have this weight: from 0 for the
    smallest towards 1 for those much larger than R. The larger they are, the more the number
    of missed blocks is a whole number that may well be zero: hence its part in the pull.
    """
    if inferred <= 0.0 or variance <= 0.0:
        return 0.0
    half = _half_quantile(level)
    n = inferred * inferred / variance
    n += _extra_samples(level, half) - _LOWER_PULL / (n + _LOWER_OFFSET) - largeness
    if n <= half * half:
        return 0.0
    root = math.sqrt(n) - half
    return variance / inferred * root * root


def _inferred_high(inferred: float, variance: float, unseen: float, level: float) -> float:
    """Return the upper end for the inferred part: that of c more samples of weight `unseen`."""
    if unseen <= 0.0:
        return inferred
    half = _half_quantile(level)
    extra = _extra_samples(level, half)
    mean = inferred + extra * unseen
    variance += extra * unseen * unseen
    root = math.sqrt(mean * mean / variance) + half
    return variance / mean * root * root


def _around(difference: float, variance: float, samples: int, unseen: float, level: float) -> "Tuple[float, float]":
    """Return the interval of a difference; `unseen` is what a sample of small blocks stands for."""
    if samples <= 0:
        variance = 0.0  # What two equal sums leave is rounding.
    z = 2.0 * _half_quantile(level)
    width = math.sqrt(z * z * max(0.0, variance) + (math.log1p(-level) * unseen) ** 2)
    return (difference - width, difference + width)
