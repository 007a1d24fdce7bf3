# SPDX-License-Identifier: MIT
"""Which lines keep growing: the trend of each in profiles of one process over time, and how sure it is.

    moments = [Moment.of(Profile.read(name), "line") for name in names]
    for growth in analyse(moments):
        growth.key, growth.verdict, growth.rate, growth.low, growth.high

METHOD  What a line has in use at the moments t_0 ... t_n changes by d_i in the interval of length w_i. Samples that are
        alive at both ends cancel in d_i, so the errors of different intervals come from different samples: they are
        independent, with variances in proportion to w_i. Under that model the generalised least squares estimate
        (A. C. Aitken, Proc. Royal Society of Edinburgh 55, 1935, 42-48) of the trend is

            rate = sum d_i / sum w_i        s^2 = sum (d_i - rate w_i)^2 / w_i / (n - 1)

        with standard error s / sqrt(sum w_i). Where the program works in equal portions and not by the clock, the
        variances are all equal instead: s^2 = sum (d_i - mean)^2 / (n - 1), with standard error s sqrt(n) / sum w_i. Of
        the two the smaller error counts. Student's t with n - 1 degrees of freedom gives the interval. A plain
        regression would be too sure: neighbouring estimates share most of their samples.
        s holds both what sampling adds and how unevenly the program itself grows; what swings back and forth
        (churn, batches, cycles that wait for the collector) makes it larger than it need be, so it accuses less.

        With fewer than FEW intervals there is no saying what is usual. Then the interval is that of a difference of
        two estimates (intervals.difference_interval), whose variance leaves out the samples that both ends share, as
        far as the ages of the blocks tell.

WARM-UP The first third of the time is left to it. A line is a

            suspect     it grew in the rest with a probability of 99.9 %, and in the last third of the time at half
                        that rate at least
            settled     it grew from the beginning to the end, but is no suspect; if the interval of its growth after
                        the warm-up is above zero all the same, it may be growing still

UNITS   Bytes, seconds.
"""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mprofile import intervals
from mprofile.profile import Profile, Row
from mprofile.snapshot import Snapshot

__all__ = ["BOUNDS", "Growth", "Key", "Moment", "Share", "analyse", "older", "share_alive", "student_quantile"]

#: Where the classes of ages in a file begin, in seconds; younger than the first has none (src/pprof/layout.h).
BOUNDS = (1, 10, 60, 600, 3600, 21600)

LEVEL = 0.95  # of the intervals shown
SURE = 0.999  # of a suspicion
FEW = 4
WARM_UP = 1 / 3

Key = Tuple[object, ...]


def key_of(row: Row, by: str) -> Key:
    """What names the same row in another profile."""
    if by == "stack":
        return tuple((frame.filename, frame.lineno, frame.name) for frame in row.frames)
    if by == "function":
        return (row.filename, row.lineno, row.name)
    return (row.filename, row.lineno)


class Amount(NamedTuple):
    """What one row of a profile says, for the trend: bytes in use and allocated, and their variances."""

    inuse: float
    inuse_var: float
    samples: int
    allocated: float
    allocated_var: float


NOTHING = Amount(0.0, 0.0, 0, 0.0, 0.0)


class Moment(NamedTuple):
    """One profile, reduced to what the trend needs."""

    time: float
    start: float
    rate: float
    amounts: Dict[Key, Amount]

    @classmethod
    def of(cls, profile: Profile, by: str) -> Moment:
        amounts = {}
        for row in profile.rows(by):
            inuse, allocated, _ = row.flat
            amounts[key_of(row, by)] = Amount(
                inuse.bytes, inuse.bytes_var, inuse.samples, allocated.bytes, allocated.bytes_var
            )
        meta = profile.meta
        return cls(meta["time_ns"] / 1e9, meta["start_ns"] / 1e9, meta["sample_rate"], amounts)

    def amount(self, key: Key) -> Amount:
        return self.amounts.get(key, NOTHING)


class Growth(NamedTuple):
    """The trend of one row. rate, low and high: bytes per second; the interval holds the true rate with 95 %."""

    key: Key
    verdict: str  # "suspect", "settled" or "" (neither)
    rate: float
    low: float
    high: float
    grew: int  # intervals in which it grew, of `intervals`, after the warm-up
    intervals: int
    first: float  # in use at the first moment and at the last
    last: float


# ---- Student's t ----


def student_below(t: float, freedom: int) -> float:
    """Return the probability that Student's t is below ``t`` (at least 0).

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4: finite sums for whole degrees of
    freedom.
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    term, total = (cosine, 0.0) if freedom % 2 else (1.0, 0.0)
    first = 3 if freedom % 2 else 2
    for k in range(first, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    total *= math.sin(angle)
    within = 2 / math.pi * (angle + total) if freedom % 2 else total
    return 0.5 + 0.5 * within


def student_quantile(p: float, freedom: int) -> float:
    """Return t such that Student's t is below it with probability ``p``, 0.5 or more and below 1. By bisection."""
    low, high = 0.0, 1.0
    while student_below(high, freedom) < p:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if student_below(middle, freedom) < p:
            low = middle
        else:
            high = middle
    return high


# ---- the trend ----


class Trend(NamedTuple):
    rate: float
    error: float  # one standard error
    freedom: int

    def interval(self, level: float) -> Tuple[float, float]:
        width = self.error * student_quantile(0.5 + level / 2, self.freedom) if self.error else 0.0
        return (self.rate - width, self.rate + width)


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the trend of three values or more at rising times: see METHOD."""
    whole = times[-1] - times[0]
    rate = (values[-1] - values[0]) / whole
    steps = len(times) - 1
    mean = (values[-1] - values[0]) / steps
    by_time = by_step = 0.0
    for i in range(steps):
        length, change = times[i + 1] - times[i], values[i + 1] - values[i]
        by_time += (change - rate * length) ** 2 / length
        by_step += (change - mean) ** 2
    freedom = steps - 1
    error = min(math.sqrt(by_time / freedom / whole), math.sqrt(by_step / freedom * steps) / whole)
    return Trend(rate, error, freedom)


def analyse(moments: Sequence[Moment], old_last: Optional[Dict[Key, Amount]] = None) -> List[Growth]:
    """Return the Growth of each row that has grown or is suspected, the fastest first.

    moments: two or more of one process at rising times. old_last: with few moments, what of the last one is surely
    older than the first, by row (older()); None: not known.
    """
    times = [moment.time for moment in moments]
    beyond = times[0] + (times[-1] - times[0]) * WARM_UP
    start = next(i for i, time in enumerate(times) if time >= beyond)
    keys: Dict[Key, None] = {}
    for moment in (moments[0], moments[start], moments[-1]):
        keys.update(dict.fromkeys(moment.amounts))
    # At the ends of the part that is judged there are FEW intervals at least, or all moments are judged.
    many = len(times) - 1 - start >= FEW
    found = []
    for key in keys:
        values = [moment.amount(key).inuse for moment in moments]
        if many:
            growth = _of_many(key, times, values, start)
        else:
            growth = _of_few(key, moments, times, values, old_last)
        if growth.verdict or growth.rate > 0:
            found.append(growth)
    found.sort(key=lambda growth: (-growth.rate, str(growth.key)))
    return found


def _grew(values: Sequence[float]) -> int:
    return sum(after > before for before, after in zip(values, values[1:]))


def _of_many(key: Key, times: Sequence[float], values: Sequence[float], start: int) -> Growth:
    judged = trend(times[start:], values[start:])
    low, high = judged.interval(LEVEL)
    verdict = ""
    if judged.interval(SURE)[0] > 0 and _still(times, values, judged.rate):
        verdict = "suspect"
    elif trend(times, values).interval(LEVEL)[0] > 0 or _settled(times, values, start, judged):
        verdict = "settled"
    steps = len(times) - 1 - start
    return Growth(key, verdict, judged.rate, low, high, _grew(values[start:]), steps, values[0], values[-1])


def _still(times: Sequence[float], values: Sequence[float], rate: float) -> bool:
    """Whether it grew in the last third of the time, too, at half the rate at least."""
    beyond = times[-1] - (times[-1] - times[0]) / 3
    at = max(i for i, time in enumerate(times) if time <= beyond)
    return (values[-1] - values[at]) / (times[-1] - times[at]) >= rate / 2


def _settled(times: Sequence[float], values: Sequence[float], start: int, judged: Trend) -> bool:
    """Whether it grew in the warm-up by more than it swings afterwards."""
    warm, rest = times[start] - times[0], times[-1] - times[start]
    rise = (values[start] - values[0]) / warm
    error = judged.error * math.sqrt(rest / warm)
    return rise > student_quantile(SURE, judged.freedom) * error and rise > 0


def _of_few(
    key: Key,
    moments: Sequence[Moment],
    times: Sequence[float],
    values: Sequence[float],
    old_last: Optional[Dict[Key, Amount]],
) -> Growth:
    first, last = moments[0].amount(key), moments[-1].amount(key)
    shared = NOTHING if old_last is None else old_last.get(key, NOTHING)
    variance = max(0.0, first.inuse_var + last.inuse_var - 2 * shared.inuse_var)
    samples = max(0, first.samples + last.samples - 2 * shared.samples)
    rate = max(moment.rate for moment in moments)
    difference, whole = values[-1] - values[0], times[-1] - times[0]
    low, high = intervals.difference_interval(difference, variance, samples, rate, LEVEL)
    surely = intervals.difference_interval(difference, variance, samples, rate, SURE)[0] > 0
    steps = len(times) - 1
    grew = _grew(values)
    verdict = "suspect" if surely and grew == steps and _still(times, values, difference / whole) else ""
    return Growth(key, verdict, difference / whole, low / whole, high / whole, grew, steps, values[0], values[-1])


# ---- what has survived ----


def older(profile: Profile, seconds: float) -> Profile:
    """Return a profile of the blocks in use that are surely as old; what was ever allocated is not in it."""
    traces = profile._traces
    limit = profile.meta["time_ns"] - int(seconds * 1e9)
    keep = bytearray(len(traces))
    for i in range(len(traces)):
        birth: int = traces.block(i)[5]
        keep[i] = 0 < birth <= limit
    return Profile(Snapshot(traces.select_blocks(bytes(keep)), profile.meta["max_frames"]))


def ages_known(profile: Profile) -> bool:
    """Whether any block in use says when it was born."""
    traces = profile._traces
    return any(traces.block(i)[5] for i in range(len(traces)))


class Share(NamedTuple):
    """A part of a whole, both estimated from one set of samples: 0 to 1, with the ends of its interval."""

    value: float
    low: float
    high: float


def share_alive(part: float, part_var: float, whole: float, whole_var: float, level: float = LEVEL) -> Optional[Share]:
    """Return the share that is alive (``part``) of everything allocated (``whole``), in bytes; None if there is none.

    The samples of the part are samples of the whole. So the variance of the ratio r is ((1 - r)^2 part_var + r^2
    (whole_var - part_var)) / whole^2 (Taylor linearisation; C. E. Saerndal and others, Model Assisted Survey Sampling,
    1992, section 5.6), and r (1 - r) by it the number of samples of equal weight that would say as much. With
    this number the interval is E. B. Wilson's (J. American Statistical Association 22, 1927, 209-212).
    """
    if whole <= 0:
        return None
    ratio = min(1.0, max(0.0, part / whole))
    if whole_var <= 0:
        return Share(ratio, ratio, ratio)
    samples = whole * whole / whole_var
    variance = (1 - ratio) ** 2 * part_var + ratio**2 * max(0.0, whole_var - part_var)
    if variance > 0:
        samples = min(samples, ratio * (1 - ratio) * whole * whole / variance) or samples
    z = intervals.normal_quantile(0.5 + level / 2)
    centre = (ratio + z * z / (2 * samples)) / (1 + z * z / samples)
    width = z / (1 + z * z / samples) * math.sqrt(ratio * (1 - ratio) / samples + z * z / (4 * samples * samples))
    return Share(ratio, max(0.0, min(ratio, centre - width)), min(1.0, max(ratio, centre + width)))


def early_share(moments: Sequence[Moment], old: Dict[Key, Amount], cut: float, key: Key) -> Optional[Share]:
    """Return how much of what a row allocated up to the time ``cut`` is alive at the last moment.

    old: what of the last moment was born before, by row. What had been allocated by then is read between the two
    moments around it.
    """
    before, after = (moments[0].start, NOTHING), (moments[-1].time, moments[-1].amount(key))
    for moment in moments:
        if moment.time <= cut:
            before = (moment.time, moment.amount(key))
        else:
            after = (moment.time, moment.amount(key))
            break
    if not after[0] > before[0]:
        return None
    part = (cut - before[0]) / (after[0] - before[0])
    allocated = before[1].allocated + part * (after[1].allocated - before[1].allocated)
    variance = before[1].allocated_var + part * (after[1].allocated_var - before[1].allocated_var)
    alive = old.get(key, NOTHING)
    return share_alive(alive.inuse, alive.inuse_var, allocated, variance)
