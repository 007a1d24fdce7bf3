# SPDX-License-Identifier: MIT
"""What looks like a leak, as lines of text: pure functions of one profile or of several of one process.

survivors()  one profile: what has lived for long, by line, and how much of all that the line allocated still lives.
suspects()   profiles over time: what keeps growing (growth.py tells by which method), and why it is suspected.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from mprofile._sizes import UNITS
from mprofile.profile import Profile, Row
from mprofile.reports import growth
from mprofile.reports.growth import BOUNDS, Amount, Growth, Key, Moment, Share
from mprofile.reports.head import head
from mprofile.reports.names import format_count, format_size, printable, recorded, short, size_range
from mprofile.reports.styled import Line

__all__ = ["BY", "Series", "duration", "survivors", "suspects"]

BY = ("line", "function", "stack")

#: Suspects that grew by less than this part of the heap are counted only.
SMALL = 0.001

#: What has settled is told if it grew by this part of the heap.
MATERIAL = 0.01

#: Most frames shown of the stack of a suspect, the innermost.
FRAMES = 8


def duration(seconds: float) -> str:
    """In the largest unit that leaves a number of 1 or more: 4.0 s, 5 minutes, 3.5 h."""
    if seconds < 60:
        return "{:.3g} s".format(seconds)
    if seconds < 3600:
        return "{:.3g} min".format(seconds / 60)
    return "{:.3g} h".format(seconds / 3600)


def rate(growth: Growth) -> str:
    """Growth a minute with its interval, all in one unit: 1.2 MiB/min [1.0, 1.4]."""
    values = [60 * growth.rate, 60 * growth.low, 60 * growth.high]
    power = 0
    while max(map(abs, values)) >= 1023.95 * 1024**power and power < len(UNITS) - 1:
        power += 1
    digits = 1 if power else 0
    value, low, high = ("{:.{}f}".format(number / 1024**power, digits) for number in values)
    return "{} {}/min [{}, {}]".format(value, UNITS[power], low, high)


def percent(share: Share) -> str:
    if share.low == share.high:
        return "{:.0f} %".format(100 * share.value)
    return "{:.0f} % [{:.0f}, {:.0f}]".format(100 * share.value, 100 * share.low, 100 * share.high)


def directory_of(profile: Profile) -> str:
    return recorded(profile).get("directory", "")


def frames(row: Row, directory: str) -> List[Line]:
    """The innermost frames of a stack, the most recent last, as in a traceback."""
    lines: List[Line] = []
    if len(row.frames) > FRAMES:
        lines.append([("      ... {} more".format(len(row.frames) - FRAMES), "quiet")])
    for frame in row.frames[-FRAMES:]:
        lines.append([("      ", ""), *_at(frame.filename, frame.lineno, frame.name, directory)])
    return lines


def _at(filename: str, lineno: int, name: Optional[str], directory: str) -> Line:
    place = short(filename, directory)
    line: Line = [("{}:{}".format(place, lineno) if lineno else place, "place")]
    if name is not None:
        line += [("  ", ""), (printable(name), "name")]
    return line


def where(row: Row, directory: str) -> Line:
    return _at(row.filename, row.lineno, row.name, directory)


# ---- one profile ----


def survivors(profile: Profile, older_than: float = 60.0, by: str = "line", limit: int = 20) -> List[Line]:
    """Return what in one profile is older.

    older_than: seconds, taken as the next of BOUNDS that is not less; ValueError if there is none. by: one of BY.
    """
    bound = next((bound for bound in BOUNDS if bound >= older_than), None)
    if bound is None:
        raise ValueError("ages are known up to {}, not up to {}".format(duration(BOUNDS[-1]), duration(older_than)))
    old = growth.older(profile, bound)
    rows = [row for row in old.rows(by) if row.flat.inuse.samples]
    whole = {growth.key_of(row, by): row for row in profile.rows(by)}
    exact = profile.meta["sample_rate"] <= 1
    directory = directory_of(profile)
    lines = head(profile)
    title = "in use for {} or more, by {}{}".format(duration(bound), by, "" if exact else ", with 95 % intervals")
    lines += [[], [(title, "head")]]
    if bound != older_than:
        lines.append([("(ages are in steps of {})".format(", ".join(map(duration, BOUNDS))), "quiet")])
    lines.append([])
    if not rows:
        return [*lines, [("  nothing", "")], *_why_nothing(profile, bound)]
    cells = [["size", *([] if exact else ["95 % interval"]), "blocks", "alive"]]
    for row in rows[:limit]:
        figures, flat = row.flat.inuse, whole[growth.key_of(row, by)].flat
        used, allocated = flat.inuse, flat.allocated
        alive = growth.share_alive(used.bytes, used.bytes_var, allocated.bytes, allocated.bytes_var)
        interval = [] if exact else [size_range(*figures.bytes_interval())]
        share = percent(alive) if alive else "-"
        cells.append([format_size(figures.bytes), *interval, format_count(figures.blocks), share])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    padded = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in cells]
    lines.append([("  {}    {}".format(padded[0], by), "head")])
    for row, text in zip(rows, padded[1:]):
        lines.append([("  {}    ".format(text), "size"), *where(row, directory)])
        if by == "stack":
            lines += frames(row, directory)
    if len(rows) > limit:
        rest = sum(row.flat.inuse.bytes for row in rows[limit:])
        lines += [[], [("  {:,} more with {}".format(len(rows) - limit, format_size(rest)), "quiet")]]
    return [
        *lines,
        [],
        [("alive: share of all bytes that the {} ever allocated that is in use, of any age".format(by), "quiet")],
        [("Old is not leaked: modules, caches and pools live long, too. Profiles over time tell what grows.", "quiet")],
    ]


def _why_nothing(profile: Profile, bound: float) -> List[Line]:
    meta = profile.meta
    lived = (meta["time_ns"] - meta["start_ns"]) / 1e9
    text = ""
    if meta["start_ns"] and meta["time_ns"] and lived < bound:
        text = "The profile was taken {} after profiling began; try --older-than.".format(duration(lived))
    elif not growth.ages_known(profile):
        text = "The profile does not say of any block how old it is."
    return [[], [(text, "quiet")]] if text else []


# ---- profiles over time ----


class Series(NamedTuple):
    """Profiles of one process over time, reduced as they are read; the first and the last stay whole."""

    moments: List[Moment]
    begin: Profile
    end: Profile

    @classmethod
    def of(cls, profiles: Iterable[Profile], by: str) -> Series:
        """Of several of one moment one counts: the clock moves by some milliseconds at a time.

        ValueError: fewer than two moments, different processes, or profiles without their times.
        """
        moments: Dict[int, Moment] = {}
        begin: Optional[Profile] = None
        end: Optional[Profile] = None
        for profile in profiles:
            time = profile.meta["time_ns"]
            if not time:
                raise ValueError("a profile does not say when it was taken")
            if begin is None or time < begin.meta["time_ns"]:
                begin = profile
            if end is None or time > end.meta["time_ns"]:
                end = profile
            if profile.meta["recording"] != begin.meta["recording"]:
                raise ValueError("the profiles are of different processes or recordings")
            if time not in moments:
                moments[time] = Moment.of(profile, by)
        if begin is None or end is None or len(moments) < 2:
            raise ValueError("profiles of one moment show no growth")
        return cls([moments[time] for time in sorted(moments)], begin, end)


def suspects(series: Series, by: str = "line", limit: int = 10) -> List[Line]:
    """Return what keeps growing and what has settled. by: as for the series."""
    moments, end = series.moments, series.end
    first, last = moments[0].time, moments[-1].time
    old_enough = next((bound for bound in BOUNDS if bound >= last - first), None)
    old_last = None
    if old_enough is not None:
        old_last = Moment.of(growth.older(end, old_enough), by).amounts
    found = growth.analyse(moments, old_last)
    rows = {growth.key_of(row, by): row for row in end.rows(by)}
    directory = directory_of(end)
    heap = end.totals().inuse.bytes
    suspected = [item for item in found if item.verdict == "suspect"]
    large = [item for item in suspected if item.last - item.first >= SMALL * heap]
    settled = [item for item in found if item.verdict == "settled" and item.last - item.first > MATERIAL * heap]
    early = _early(series, by)
    lines = head(end)
    text = "{:,} over {}".format(len(moments), duration(last - first))
    lines += [[("profiles   ", "head"), (text, "")], []]
    if large:
        lines.append([("suspects, by {}, with 95 % intervals".format(by), "head")])
    else:
        lines.append([("no suspect: nothing that matters is sure to have kept growing", "head")])
    stacks = _stacks(series, by) if large else []
    for item in large[:limit]:
        inuse = rows[item.key].flat.inuse
        size, blocks, before = format_size(inuse.bytes), format_count(inuse.blocks), format_size(item.first)
        text = "    {} in {} blocks now, {} at first; most of the growth is from".format(size, blocks, before)
        lines += [[], [("  ", ""), *where(rows[item.key], directory)]]
        lines += [[("    " + _reason(item, moments, early), "grew")], [(text, "")]]
        lines += frames(next(stack for key, _, stack in stacks if key == item.key), directory)
    if len(large) > limit:
        lines += [[], [("  {:,} more".format(len(large) - limit), "quiet")]]
    if len(suspected) > len(large):
        text = "  {:,} more that grew by less than {:g} % of the heap".format(len(suspected) - len(large), 100 * SMALL)
        lines += [[], [(text, "quiet")]]
    settled.sort(key=lambda item: item.first - item.last)
    for title, part in (
        ("not sure: may be growing still", [item for item in settled if item.low > 0]),
        ("settled: grew at first, and then no more", [item for item in settled if item.low <= 0]),
    ):
        if not part:
            continue
        lines += [[], [(title, "head")]]
        for item in part[:limit]:
            size, before = format_size(item.last), format_size(item.first)
            text = "  {:>9}, {} at first; lately {}    ".format(size, before, rate(item))
            lines.append([(text, "size"), *where(rows[item.key], directory)])
        if len(part) > limit:
            lines.append([("  {:,} more".format(len(part) - limit), "quiet")])
    if len(moments) - 1 < growth.FEW * 3 / 2:
        text = "So few profiles cannot tell a leak from a program that is warming up: 8 or more can."
        lines += [[], [(text, "quiet")]]
    return lines


class Early(NamedTuple):
    """What was allocated in the first `seconds`, and is alive: by row, at the end."""

    seconds: float
    cut: float
    alive: Dict[Key, Amount]


def _early(series: Series, by: str) -> Optional[Early]:
    """The part of the time nearest to half of it whose survivors the ages in the last profile tell."""
    start = series.moments[0].start or series.moments[0].time
    whole = series.moments[-1].time - start
    bounds = [bound for bound in BOUNDS if 0.1 * whole <= bound <= 0.9 * whole]
    if not bounds or not growth.ages_known(series.end):
        return None
    bound = min(bounds, key=lambda bound: abs(bound - whole / 2))
    alive = Moment.of(growth.older(series.end, bound), by).amounts
    return Early(whole - bound, series.moments[-1].time - bound, alive)


def _reason(item: Growth, moments: Sequence[Moment], early: Optional[Early]) -> str:
    text = "grew in {} of {} intervals, {}".format(item.grew, item.intervals, rate(item))
    share = growth.early_share(moments, early.alive, early.cut, item.key) if early else None
    if early is None or share is None:
        return text
    return "{}; {} of what it allocated in the first {} is still alive".format(
        text, percent(share), duration(early.seconds)
    )


def _stacks(series: Series, by: str) -> List[Tuple[Key, float, Row]]:
    """For each stack: the key of the row that it belongs to, how much it grew, and the stack; the most first."""
    before = {growth.key_of(row, "stack"): row.flat.inuse.bytes for row in series.begin.rows("stack")}
    found = []
    for row in series.end.rows("stack"):
        if not row.frames:
            continue
        key = growth.key_of(row, "stack")
        grown = row.flat.inuse.bytes - before.get(key, 0.0)
        frame = row.frames[-1]
        owner: Key = (frame.filename, frame.lineno)
        if by == "stack":
            owner = key
        elif by == "function":
            owner = (frame.filename, frame.firstlineno or 0, frame.name)
        found.append((owner, grown, row))
    found.sort(key=lambda item: -item[1])
    return found
